"""The voiceprint: what it computes from voices, and that training makes it tell people apart."""

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from tisdiss_models.checkpoint import CheckpointError
from tisdiss_models.cli import train_command
from tisdiss_models.data import load_corpus
from tisdiss_models.voiceprint import Voiceprint, load_voiceprint, pooled, train_voiceprint
from tisdiss_models.voiceprint.training import draw_excerpts

RATE = 16000


def harmonic(pitch_hz, seconds, formant_hz, seed):
    """A voice with a pitch and a resonance, a different one for each person."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE)) / RATE
    wobble = 1 + 0.03 * np.sin(2 * np.pi * rng.uniform(1, 3) * time_s + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch_hz * wobble) / RATE
    parts = [np.sin(k * phase) / (1 + ((k * pitch_hz - formant_hz) / 300) ** 2) for k in range(1, 30)]
    loud = 0.55 + 0.45 * np.sin(2 * np.pi * rng.uniform(2, 5) * time_s)
    return (0.05 * np.sum(parts, 0) * loud + 0.001 * rng.standard_normal(len(time_s))).astype(np.float32)


def test_frames_and_weights():
    network = Voiceprint().eval()
    voices = torch.from_numpy(np.stack([harmonic(120, 2, 700, 1), 0.01 * harmonic(200, 2, 1500, 2)]))
    with torch.no_grad():
        prints, weights = network(voices)
    assert prints.shape == (2, 62, 48)
    assert weights.shape == (2, 62)
    assert weights[0].mean() > 100 * weights[1].mean()  # the residue of a voice weighs next to nothing


@torch.no_grad()
def test_level_changes_nothing():
    network = Voiceprint().eval()
    voice = torch.from_numpy(harmonic(120, 2, 700, 1))[None]
    loud, quiet = pooled(*network(voice)), pooled(*network(0.01 * voice))
    torch.testing.assert_close(loud, quiet, atol=1e-3, rtol=0)


@torch.no_grad()
def test_silence_gives_numbers():
    prints, weights = Voiceprint().eval()(torch.zeros(2, 8192))
    assert prints.isfinite().all() and weights.isfinite().all()


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    (folder / "train").mkdir()
    for number in range(4):
        voice = harmonic(100 + 40 * number, 5, 500 + 500 * number, number)
        soundfile.write(folder / "train" / f"p{number}-1.wav", voice, RATE)
    return folder


def test_training_tells_people_apart(speech, tmp_path):
    torch.set_num_threads(1)
    train_voiceprint(speech, tmp_path / "state.pt", excerpts=96, steps=40, batch=32)
    network = load_voiceprint(tmp_path / "state.pt")
    voices = [harmonic(100 + 40 * n, 2, 500 + 500 * n, 50 + n) for n in (0, 3)]
    others = [harmonic(100 + 40 * n, 2, 500 + 500 * n, 70 + n) for n in (0, 3)]
    with torch.no_grad():
        one, two = (
            torch.cat([pooled(*network(torch.from_numpy(v)[None])) for v in said])
            for said in (voices, others)
        )
    likeness = one @ two.T
    assert likeness.diagonal().min() > likeness.fliplr().diagonal().max() + 0.1


def test_excerpts_need_no_room(speech):
    """One alone is in none more often than not."""
    talkers = load_corpus(speech / "train", RATE, 5.0)
    network, generator = Voiceprint().eval(), torch.Generator().manual_seed(0)
    made = [draw_excerpts(network, talkers, None, 1, generator) for _ in range(6)]
    assert all(one.features.isfinite().all() for one in made)


def test_a_file_that_is_no_voiceprint_is_refused(tmp_path):
    torch.save({"weights": {}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="not a voiceprint"):
        load_voiceprint(tmp_path / "other.pt")


def test_the_command_refuses_several_processes(speech, tmp_path, monkeypatch):
    monkeypatch.setattr("tisdiss_models.cli.place", lambda: (1, 2))
    result = CliRunner().invoke(train_command, ["--voice", "--speech", str(speech), "-o", str(tmp_path)])
    assert result.exit_code == 1
    assert "start it without torchrun\n" in result.output


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("--config edge-16k", "--config"),
        ("--minutes 0", "--minutes"),
        ("--device auto --evaluate-every 200", "--device, --evaluate-every"),
        ("--no-compile", "--compile"),
    ],
)
def test_the_command_refuses_what_is_for_separators(speech, tmp_path, given, names):
    arguments = ["--voice", *given.split(), "--speech", str(speech), "-o", str(tmp_path)]
    result = CliRunner().invoke(train_command, arguments)
    assert result.exit_code == 1
    assert f"--voice is trained at once, and has no {names}\n" in result.output
