"""Training mixtures: who speaks, how loud, how fast, and that the same numbers give the same mixture."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from synthetic import RATE, voice_hz, write_corpus
from torch import Tensor

from tisdiss_models import TrainingConfig
from tisdiss_models.data import (
    RMS,
    TAPS,
    Corpus,
    _coloured,
    _pauses,
    _resampled_crops,
    draw_batch,
    load_corpus,
    speech_folder,
)

PLAIN = TrainingConfig(
    speed_range=0.0, equaliser_db=0.0, absent_share=0.0, pause_share=0.0, level_db=0.0, soft_limit_db=30.0
)
SPEAKERS = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = write_corpus(tmp_path_factory.mktemp("speech"), SPEAKERS, files_of_first=8)
    return load_corpus(folder / "train", RATE)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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


def test_at_speed_one_crops_are_the_samples_themselves(corpus: Corpus) -> None:
    first = torch.tensor([TAPS, 5000])
    out = _resampled_crops(corpus, first, torch.ones(2), 700)
    for place, crop in zip(first.tolist(), out, strict=True):
        torch.testing.assert_close(
            crop, corpus.samples[place : place + 700].float() / 32768, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("speed", [0.85, 0.97, 1.03, 1.15])
def test_at_other_speeds_a_sine_changes_its_frequency_and_nothing_else(speed: float) -> None:
    time = torch.arange(20000, dtype=torch.float64)
    samples = (8000 * torch.sin(2 * torch.pi * 0.05 * time)).round().to(torch.int16)
    corpus = Corpus(samples, torch.tensor([0]), torch.tensor([len(samples)]), RATE)
    out = _resampled_crops(corpus, torch.tensor([1000]), torch.tensor([speed]), 4000)[0]
    at = 1000 + speed * torch.arange(4000, dtype=torch.float64)
    expected = 8000 / 32768 * torch.sin(2 * torch.pi * 0.05 * at)
    assert float(peak_hz(out)) == pytest.approx(0.05 * speed * RATE, abs=RATE / 4000)
    assert float((out - expected).square().mean() / expected.square().mean()) < 1e-3


def test_speakers_are_drawn_evenly_though_one_has_most_of_the_hours(corpus: Corpus) -> None:
    _, sources = draw_batch(corpus, PLAIN, 600, 0.1, generator())
    voices = ((peak_hz(sources) - voice_hz(0)) / 200).round().long()  # (600, 2)
    counts = torch.bincount(voices.flatten(), minlength=SPEAKERS)
    assert len(counts) == SPEAKERS
    assert counts.min() > 150  # 200 each are expected, 5 standard deviations are 65
    assert counts.max() < 265
    assert (voices[:, 0] != voices[:, 1]).all(), "a speaker in a mixture with itself"


def test_a_mixture_is_the_sum_of_its_sources(corpus: Corpus) -> None:
    mix, sources = draw_batch(corpus, TrainingConfig(), 16, 0.5, generator())
    assert (mix.shape, sources.shape) == ((16, 4000), (16, 2, 4000))
    torch.testing.assert_close(mix, sources[:, 0] + sources[:, 1])


def test_levels_spread_over_the_configured_range_around_the_fixed_one(corpus: Corpus) -> None:
    config = dataclasses.replace(PLAIN, level_db=6.0)
    _, sources = draw_batch(corpus, config, 300, 0.1, generator())
    level_db = 20 * torch.log10(sources.square().mean(-1).sqrt() / RMS)  # (300, 2)
    difference_db = level_db[:, 0] - level_db[:, 1]
    assert difference_db.abs().max() <= 6.01
    assert difference_db.min() < -5
    assert difference_db.max() > 5
    torch.testing.assert_close(level_db.sum(1), torch.zeros(300), atol=1e-2, rtol=0)


def test_speeds_spread_over_the_configured_range(corpus: Corpus) -> None:
    config = dataclasses.replace(PLAIN, speed_range=0.1)
    _, sources = draw_batch(corpus.speakers(1, 3), config, 200, 0.5, generator())
    heard = peak_hz(sources).flatten()
    known = torch.tensor([voice_hz(s) for s in range(SPEAKERS)])
    ratio = (heard[:, None] / known).log().abs().min(1).values.exp()
    assert ratio.max() < 1.12  # 1 / 0.9, and the resolution
    assert heard.unique().numel() > 10


def test_the_same_generator_gives_the_same_batch_and_another_does_not(corpus: Corpus) -> None:
    mix, sources = draw_batch(corpus, TrainingConfig(), 4, 0.3, generator(7))
    again = draw_batch(corpus, TrainingConfig(), 4, 0.3, generator(7))
    assert torch.equal(mix, again[0])
    assert torch.equal(sources, again[1])
    assert not torch.equal(mix, draw_batch(corpus, TrainingConfig(), 4, 0.3, generator(8))[0])


def test_no_crop_leaves_its_speaker(tmp_path: Path) -> None:
    """Crops nearly as long as the shortest speakers are, at all speeds: one frequency only in each."""
    corpus = load_corpus(write_corpus(tmp_path, SPEAKERS) / "train", RATE)
    config = dataclasses.replace(PLAIN, speed_range=0.15)
    _, sources = draw_batch(corpus, config, 60, 1.3, generator())
    window = torch.hann_window(sources.shape[-1])
    power = torch.fft.rfft(sources * window).abs().square().flatten(0, 1)
    for spectrum in power:
        peak = int(spectrum.argmax())
        assert spectrum[max(peak - 8, 0) : peak + 9].sum() > 0.97 * spectrum.sum()


def test_shares_of_absent_and_paused_second_speakers_are_as_configured() -> None:
    config = TrainingConfig(absent_share=0.2, pause_share=0.3)
    factors = _pauses(1000, 400, config, generator())
    assert factors.shape == (1000, 2, 400)
    assert factors.min() >= 0
    assert factors.max() <= 1
    assert (factors[:, 0] == 1).all(), "the first speaker always speaks"
    spoken = factors[:, 1].mean(-1)
    assert float((spoken == 0).float().mean()) == pytest.approx(0.2, abs=0.06)
    assert float((spoken == 1).float().mean()) == pytest.approx(0.5, abs=0.08)
    paused = factors[:, 1][(spoken > 0) & (spoken < 1)]
    late = paused[:, 0] == 0
    assert (paused[late, -1] == 1).all()
    assert (paused[~late, 0] == 1).all()
    assert (paused[~late, -1] == 0).all()
    assert float(late.float().mean()) == pytest.approx(0.5, abs=0.15)


def test_without_shares_everybody_speaks_all_the_time() -> None:
    assert (_pauses(50, 10, PLAIN, generator()) == 1).all()


def test_colouring_changes_the_spectrum_smoothly_and_about_as_much_as_asked() -> None:
    impulse = torch.zeros(40, 1024)
    impulse[:, 0] = 1
    response_db = 20 * torch.log10(torch.fft.rfft(_coloured(impulse, 4.0, generator())).abs())
    assert 1 < float(response_db.std()) < 3  # half of the strength is one standard deviation
    assert (response_db[:, 1:] - response_db[:, :-1]).abs().max() < 0.2
    assert response_db.std(0).min() > 0.5


def test_the_real_corpus_has_its_speakers_and_gives_mixtures_at_the_fixed_level() -> None:
    folder = speech_folder()
    if folder is None:
        pytest.skip("no speech; name its folder with TISDISS_SPEECH")
    corpus = load_corpus(folder / "train", 16000)
    speakers = {path.name.split("-")[0] for path in (folder / "train").glob("*.flac")}
    assert len(corpus.lengths) == len(speakers) > 200
    assert int(corpus.lengths.sum()) / 16000 / 3600 == pytest.approx(2, abs=0.3)
    _, sources = draw_batch(corpus, PLAIN, 8, 3.0, generator())
    torch.testing.assert_close(sources.square().mean(-1).sqrt(), torch.full((8, 2), RMS), atol=1e-4, rtol=0)
