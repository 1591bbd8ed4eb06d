"""Recordings: what is read, who is who, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from synthetic import RATE, voice_hz, write_corpus
from torch import Tensor

from tisdiss_models.data import Corpus, load_corpus, speech_folder

SPEAKERS = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = write_corpus(tmp_path_factory.mktemp("speech"), SPEAKERS, files_of_first=8)
    return load_corpus(folder / "train", RATE)


def peak_hz(audio: Tensor) -> Tensor:
    """Frequency of the strongest bin of (..., samples)."""
    window = torch.hann_window(audio.shape[-1])
    return torch.fft.rfft(audio * window).abs().argmax(-1) * RATE / audio.shape[-1]


def test_a_corpus_holds_every_speaker_once_with_all_of_its_files(corpus: Corpus) -> None:
    lengths = sorted(corpus.lengths.tolist())
    assert lengths == [12000] * 5 + [8 * 12000]
    assert corpus.samples.dtype == torch.int16
    heard = set()
    for start, length in zip(corpus.starts.tolist(), corpus.lengths.tolist(), strict=True):
        voice = corpus.samples[start : start + min(length, 12000)].float()
        heard.add(round(float(peak_hz(voice)) / 10) * 10)
    assert heard == {round(voice_hz(s)) for s in range(SPEAKERS)}


def test_the_order_of_speakers_is_always_the_same_and_not_that_of_the_names(corpus: Corpus) -> None:
    first = int(corpus.lengths.argmax())  # the speaker whose name sorts first has most files
    assert first != 0
    assert len(corpus.speakers(0, first).lengths) == first
    assert corpus.speakers(first, first + 1).lengths.tolist() == [96000]


def test_samples_are_read_as_they_are_in_the_file(tmp_path: Path) -> None:
    audio = np.arange(-500, 500, dtype=np.int16) * 60
    soundfile.write(tmp_path / "1-2-3.flac", audio, RATE)
    assert load_corpus(tmp_path, RATE).samples.numpy().tolist() == audio.tolist()


def test_a_corpus_of_another_rate_is_refused(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path, 2, 0.1, rate=16000)
    with pytest.raises(ValueError, match=r"16000 Hz, but the network works at 8000 Hz"):
        load_corpus(folder / "train", RATE)


def test_a_folder_without_audio_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match="no audio"):
        load_corpus(tmp_path, RATE)


def test_files_of_any_resolution_are_read_alike(tmp_path: Path) -> None:
    audio = np.linspace(-0.9, 0.9, 1000)
    for folder, subtype in ((tmp_path / name, name) for name in ("PCM_16", "PCM_24", "FLOAT", "DOUBLE")):
        folder.mkdir()
        soundfile.write(folder / "1-2.wav", audio, RATE, subtype=subtype)
        samples = load_corpus(folder, RATE).samples.numpy()
        np.testing.assert_allclose(samples / 32768, audio, atol=1.01 / 32768)


def test_floating_point_beyond_full_scale_keeps_its_form(tmp_path: Path) -> None:
    audio = 8 * np.sin(np.arange(1000) / 20)
    soundfile.write(tmp_path / "1-2.WAV", audio, RATE, subtype="FLOAT", format="WAV")
    samples = load_corpus(tmp_path, RATE).samples.numpy()
    np.testing.assert_allclose(samples / np.abs(samples).max(), audio / np.abs(audio).max(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "audio", "message"),
    [
        ("1-2.wav", np.zeros((100, 2)), "2 channels; training takes mono"),
        ("1-2.wav", np.zeros(0), "no samples"),
        ("1-2.wav", np.array([0.0, np.nan]), "NaN"),
        ("talk.wav", np.zeros(100), "start with its speaker and a hyphen"),
        ("1-2.wav", None, "not readable as audio"),
    ],
)
def test_files_that_cannot_be_trained_with_are_named(
    tmp_path: Path, name: str, audio: np.ndarray | None, message: str
) -> None:
    if audio is None:
        (tmp_path / name).write_text("text")
    else:
        soundfile.write(tmp_path / name, audio, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=f"{name}: .*{message}"):
        load_corpus(tmp_path, RATE)


def test_the_speech_folder_is_the_one_that_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TISDISS_SPEECH", str(tmp_path))
    assert speech_folder() is None  # there is no train/ in it
    (tmp_path / "train").mkdir()
    assert speech_folder() == tmp_path


def test_noises_of_any_name_are_recordings_of_their_own(tmp_path: Path) -> None:
    for name, length in (("rain.flac", 300), ("rain-2.flac", 500)):
        soundfile.write(tmp_path / name, np.ones(length) / 4, RATE)
    noises = load_corpus(tmp_path, RATE, by_file=True)
    assert sorted(noises.lengths.tolist()) == [300, 500]


def test_the_real_corpus_has_its_speakers_and_noises_of_two_kinds() -> None:
    folder = speech_folder()
    if folder is None:
        pytest.skip("no speech; name its folder with TISDISS_SPEECH")
    people = {
        part: {path.name.split("-")[0] for path in (folder / part).iterdir()}
        for part in ("train", "validation")
    }
    assert not people["train"] & people["validation"]
    assert (len(people["train"]), len(people["validation"])) == (453, 32)
    seconds = sum(soundfile.info(path).duration for path in (folder / "train").iterdir())
    assert seconds / 3600 == pytest.approx(8.0, abs=0.1)
    noises = [
        {path.name for path in (folder / "noise" / part).rglob("*.*")} for part in ("train", "validation")
    ]
    assert all(noises)
    assert not noises[0] & noises[1]
