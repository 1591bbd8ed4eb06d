"""Scenes: each part does what its options say, alone, and the same numbers give the same mixture."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
from synthetic import RATE, voice_hz, write_corpus
from torch import Tensor

from tisdiss_models import ConfigError, SceneConfig
from tisdiss_models.acoustics import RMS, SCENES, draw_batch, draw_three
from tisdiss_models.acoustics.channels import clipped, coded, draw_channel
from tisdiss_models.acoustics.drawing import Draw
from tisdiss_models.acoustics.filters import filtered, smooth_response
from tisdiss_models.acoustics.noises import fan, hum
from tisdiss_models.acoustics.rooms import convolved, draw_responses
from tisdiss_models.acoustics.scenes import CLEAN
from tisdiss_models.acoustics.turns import draw_activity
from tisdiss_models.acoustics.voices import SPLICE_FADE_S, crops
from tisdiss_models.data import Corpus, load_corpus
from tisdiss_models.options import read_yaml

PLAIN = dataclasses.replace(CLEAN, level_db=(0.0, 0.0))
SPEAKERS = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = write_corpus(tmp_path_factory.mktemp("speech"), SPEAKERS, files_of_first=8)
    return load_corpus(folder / "train", RATE)


@pytest.fixture(scope="module")
def recorded() -> Corpus:
    """Two noises: a tone of 1900 Hz, and one of 3100 Hz that is shorter than any crop."""
    tones = [torch.sin(2 * torch.pi * hz / RATE * torch.arange(n)) for hz, n in ((1900, 9000), (3100, 800))]
    lengths = torch.tensor([len(tone) for tone in tones])
    samples = (torch.cat(tones) * 8000).to(torch.int16)
    return Corpus(samples, lengths.cumsum(0) - lengths, lengths, RATE)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(seed: int = 0) -> Draw:
    return Draw(generator(seed), torch.device("cpu"))


def peak_hz(audio: Tensor, rate: int = RATE) -> Tensor:
    """Frequency of the strongest bin of (..., samples)."""
    window = torch.hann_window(audio.shape[-1])
    return torch.fft.rfft(audio * window).abs().argmax(-1) * rate / audio.shape[-1]


def level_db(audio: Tensor) -> Tensor:
    return 10 * torch.log10(audio.square().mean(-1) + 1e-12)


def test_speakers_are_drawn_evenly_though_one_has_most_of_the_hours(corpus: Corpus) -> None:
    _, sources = draw_batch(corpus, PLAIN, 600, 0.1, generator())
    voices = ((peak_hz(sources) - voice_hz(0)) / 200).round().long()  # (600, 2)
    counts = torch.bincount(voices.flatten(), minlength=SPEAKERS)
    assert len(counts) == SPEAKERS
    assert counts.min() > 150  # 200 each are expected, 5 standard deviations are 65
    assert counts.max() < 265
    assert (voices[:, 0] != voices[:, 1]).all(), "a speaker in a mixture with itself"


def test_a_clean_mixture_is_the_sum_of_its_voices_at_the_fixed_level(corpus: Corpus) -> None:
    mix, sources = draw_batch(corpus, PLAIN, 16, 0.5, generator())
    assert (mix.shape, sources.shape) == ((16, 4000), (16, 2, 4000))
    torch.testing.assert_close(mix, sources.sum(1))
    torch.testing.assert_close(sources.square().mean(-1).sqrt(), torch.full((16, 2), RMS), atol=1e-4, rtol=0)


def test_at_speed_one_voices_are_the_samples_themselves(corpus: Corpus) -> None:
    _, sources = draw_batch(corpus, PLAIN, 8, 0.2, generator())
    samples = corpus.samples.numpy() / 32768
    energy = np.convolve(samples**2, np.ones(1600), "valid")  # of every place, at which a voice may be
    for voice in sources[0].double().numpy():
        product = np.convolve(samples, voice[::-1], "valid")
        error = 1 - product**2 / np.maximum(energy, 1e-9) / (voice**2).sum()
        assert error.min() < 1e-8


def test_a_share_of_voices_goes_on_from_another_place_of_the_same_talker() -> None:
    length = 10000  # of each of three talkers, whose samples are their places in the corpus
    starts = torch.arange(3) * length
    places = Corpus(torch.arange(3 * length, dtype=torch.int16), starts, torch.full((3,), length), RATE)
    which = torch.arange(3).repeat(400)
    rows = (crops(draw(), places, which, 4000, 0.3) * 32768).round()
    steps = rows.diff() != 1
    cut = steps.any(1)
    assert float(cut.float().mean()) == pytest.approx(0.3, abs=0.05)
    faded = steps[cut].sum(1)
    assert faded.max() <= 2 * SPLICE_FADE_S * RATE + 1
    first = steps[cut].int().argmax(1) / 4000
    assert first.min() < 0.15
    assert first.max() > 0.85
    before, after = rows[cut, 0], rows[cut, -1] - 3999
    assert torch.equal((before // length).long(), which[cut])
    assert torch.equal((rows[cut, -1] // length).long(), which[cut])
    assert float((before - after).abs().median()) > 500


def test_levels_spread_over_the_configured_range_around_the_fixed_one(corpus: Corpus) -> None:
    config = dataclasses.replace(PLAIN, level_db=(2.0, 6.0))
    _, sources = draw_batch(corpus, config, 300, 0.1, generator())
    levels = level_db(sources) - 20 * np.log10(RMS)  # (300, 2)
    difference = levels[:, 0] - levels[:, 1]
    assert 1.98 < difference.abs().min() < 2.3
    assert 5.7 < difference.abs().max() < 6.02
    assert 0.4 < float((difference > 0).float().mean()) < 0.6
    torch.testing.assert_close(levels.sum(1), torch.zeros(300), atol=1e-2, rtol=0)


@pytest.mark.parametrize("speed_range", [0.1, 0.15])
def test_speeds_spread_over_the_configured_range_and_change_nothing_else(
    corpus: Corpus, speed_range: float
) -> None:
    config = dataclasses.replace(PLAIN, speed_range=speed_range)
    _, sources = draw_batch(corpus.speakers(2, SPEAKERS), config, 200, 0.5, generator())
    seen = peak_hz(sources).flatten()
    known = torch.tensor([voice_hz(s) for s in range(SPEAKERS)])
    ratio = (seen[:, None] / known).log().abs().min(1).values.exp()
    assert 1 + 0.8 * speed_range < ratio.max() < 1 / (1 - speed_range) + 0.01
    assert seen.unique().numel() > 10
    window = torch.hann_window(sources.shape[-1])
    power = torch.fft.rfft(sources * window).abs().square().flatten(0, 1)
    for spectrum in power:  # one frequency, that is one speaker, in each
        peak = int(spectrum.argmax())
        assert spectrum[max(peak - 8, 0) : peak + 9].sum() > 0.97 * spectrum.sum()


def test_the_same_generator_gives_the_same_batch_and_another_does_not(
    corpus: Corpus, recorded: Corpus
) -> None:
    config = dataclasses.replace(
        PLAIN, turns_share=0.5, room_share=0.5, field_share=0.5, hum_share=0.5, fan_share=0.5,
        coloured_share=0.5, babble_share=0.5, telephone_share=0.5, clip_share=0.5, codec_share=0.5,
    )  # fmt: skip
    mix, sources = draw_batch(corpus, config, 4, 0.3, generator(7), recorded)
    again = draw_batch(corpus, config, 4, 0.3, generator(7), recorded)
    assert torch.equal(mix, again[0])
    assert torch.equal(sources, again[1])
    assert not torch.equal(mix, draw_batch(corpus, config, 4, 0.3, generator(8), recorded)[0])


def test_shares_of_talkers_alone_late_and_in_turn_are_as_configured() -> None:
    config = dataclasses.replace(PLAIN, alone_share=0.2, late_share=0.3, turns_share=0.1)
    active = draw_activity(draw(), config, 2000, 4.0, 1600)
    assert active.shape == (2000, 2, 1600)
    assert active.min() >= 0
    assert active.max() <= 1
    spoken = active.mean(-1).sort(1).values  # (2000, 2)
    alone = spoken[:, 0] == 0
    whole = (spoken == 1).all(1)
    late = ~alone & ~whole & (spoken[:, 1] == 1)
    assert float(alone.float().mean()) == pytest.approx(0.2, abs=0.04)
    assert float(late.float().mean()) == pytest.approx(0.3, abs=0.04)
    assert float(whole.float().mean()) == pytest.approx(0.4, abs=0.05)


def test_in_turn_talkers_alternate_with_gaps_and_overlaps_of_the_configured_lengths() -> None:
    config = dataclasses.replace(
        PLAIN, turns_share=1.0, turn_s=(1.0, 2.0), gap_s=(-0.4, 0.5), pause_share=0.2, pause_s=(3.0, 4.0)
    )
    active = draw_activity(draw(), config, 200, 20.0, 2000) > 0.5  # 100 a second
    gaps_s = []
    for one, other in active.numpy():
        spans = []
        for talker, line in enumerate((one, other)):
            edges = np.flatnonzero(np.diff(np.r_[0, line.astype(int), 0]))
            spans += [(start / 100, end / 100, talker) for start, end in edges.reshape(-1, 2)]
        spans.sort()
        inner = spans[2:-2]  # the others may be cut
        assert all(0.95 < end - start < 2.05 for start, end, _ in inner)
        assert all(a[2] != b[2] for a, b in itertools.pairwise(spans))
        gaps_s += [b[0] - a[1] for a, b in itertools.pairwise(inner)]
        assert spans[-1][1] > 15, "turns go on to the end"
    gaps = np.array(gaps_s)
    assert gaps.min() > -0.45
    assert ((gaps < 0.55) | (gaps > 2.9)).all()
    assert (gaps < -0.3).any()
    assert (gaps > 2.9).mean() == pytest.approx(0.18, abs=0.06)  # fewer than a fifth: they fill the time


def test_reflections_decay_by_60_db_in_the_configured_time() -> None:
    config = dataclasses.replace(PLAIN, room_share=1.0, decay_s=(0.5, 0.5))
    responses = draw_responses(draw(), config, 40, RATE)
    torch.testing.assert_close(responses.square().sum(-1), torch.ones(40, 2))
    low = scipy.signal.butter(4, 500, fs=RATE, output="sos")  # below every crossover: the full decay time
    energy = scipy.signal.sosfilt(low, responses.numpy())[..., ::-1] ** 2
    decay_db = 10 * np.log10(np.cumsum(energy.mean((0, 1)))[::-1])  # backward integration (Schroeder 1965)
    decay_db -= decay_db[80]
    at = [int(np.flatnonzero(decay_db < level)[0]) for level in (-5, -25)]
    assert (at[1] - at[0]) * 3 / RATE == pytest.approx(0.5, abs=0.06)


def test_the_farther_the_talker_the_weaker_the_direct_sound() -> None:
    near, far = (
        draw_responses(draw(), dataclasses.replace(PLAIN, decay_s=(0.5, 0.5), distance_m=(d, d)), 50, RATE)
        for d in (0.4, 1.6)
    )
    ratios = [float((10 * torch.log10(h[..., 0] ** 2 / (1 - h[..., 0] ** 2))).mean()) for h in (near, far)]
    assert ratios[0] - ratios[1] == pytest.approx(20 * np.log10(4), abs=0.01)


def test_convolution_is_that_of_scipy() -> None:
    audio, response = torch.randn(3, 1000, generator=generator()), torch.randn(3, 301, generator=generator(1))
    expected = [
        scipy.signal.fftconvolve(a, r)[:1000] for a, r in zip(audio.numpy(), response.numpy(), strict=True)
    ]
    np.testing.assert_allclose(convolved(audio, response).numpy(), expected, atol=1e-4)


def test_voices_in_a_room_are_reverberant_and_still_add_up_to_the_mixture(corpus: Corpus) -> None:
    config = dataclasses.replace(PLAIN, room_share=1.0, decay_s=(0.4, 0.4), late_share=1.0)
    mix, sources = draw_batch(corpus, config, 20, 1.0, generator())
    torch.testing.assert_close(mix, sources.sum(1), atol=1e-5, rtol=0)
    dry = draw_batch(corpus, dataclasses.replace(config, room_share=0.0), 20, 1.0, generator())[1]
    silent = [float((s.unfold(-1, 80, 80).square().mean(-1) < 1e-9).float().mean()) for s in (dry, sources)]
    assert silent[0] > silent[1] + 0.02, "the room goes on after the talker has stopped"


@pytest.mark.parametrize("kind", ["field", "coloured", "fan", "hum", "babble"])
def test_each_noise_has_its_level_and_is_in_the_mixture_alone(
    corpus: Corpus, recorded: Corpus, kind: str
) -> None:
    config = dataclasses.replace(PLAIN, noise_db=(5.0, 8.0), swell_share=0.0, **{f"{kind}_share": 1.0})
    mix, sources = draw_batch(corpus, config, 40, 0.5, generator(), recorded)
    dry = sources.sum(1)
    distance = level_db(dry) - level_db(mix - dry)
    assert distance.min() > 4.99
    assert distance.max() < 8.01
    half = dataclasses.replace(config, **{f"{kind}_share": 0.5})
    mix, sources = draw_batch(corpus, half, 200, 0.1, generator(), recorded)
    noisy = (mix - sources.sum(1)).abs().amax(-1) > 1e-6
    assert 0.38 < float(noisy.float().mean()) < 0.62


def test_recorded_noises_are_drawn_evenly_and_short_ones_repeat(corpus: Corpus, recorded: Corpus) -> None:
    config = dataclasses.replace(PLAIN, field_share=1.0, noise_db=(0.0, 0.0), swell_share=0.0)
    mix, sources = draw_batch(corpus, config, 100, 0.5, generator(), recorded)
    noise = mix - sources.sum(1)
    seen = peak_hz(noise).round()
    assert set(seen.tolist()) <= {1900, 3100}
    assert 30 < int((seen == 3100).sum()) < 70
    assert noise.unfold(-1, 400, 400).square().mean(-1).min() > 1e-4


def test_recorded_noises_that_are_missing_are_asked_for(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="noise/train"):
        draw_batch(corpus, dataclasses.replace(PLAIN, field_share=1.0), 2, 0.1, generator())


def test_noises_swell_or_come_and_go(corpus: Corpus) -> None:
    steady = dataclasses.replace(PLAIN, coloured_share=1.0, noise_db=(5.0, 5.0), swell_share=0.0)
    spreads = []
    for config in (steady, dataclasses.replace(steady, swell_share=1.0)):
        mix, sources = draw_batch(corpus, config, 30, 1.2, generator())
        parts = level_db((mix - sources.sum(1)).unfold(-1, 800, 800))
        spreads.append(float((parts.amax(-1) - parts.amin(-1)).mean()))
    assert spreads[1] > spreads[0] + 4


def test_hum_has_lines_at_multiples_of_the_mains_and_nothing_between() -> None:
    audio = hum(draw(), 20, 16000, 16000)
    spectrum = torch.fft.rfft(audio * torch.hann_window(16000)).abs().square()  # 1 Hz a bin
    for row in spectrum:
        peak = int(row.argmax())
        assert min(abs(peak - k * f) for f in (50, 60, 100, 120) for k in range(1, 41)) <= 0.006 * peak + 1
    lines = (spectrum > spectrum.amax(1, keepdim=True) / 1e4).float().mean(1)
    assert lines.max() < 0.05, "a line spectrum"


def test_a_fan_is_low_and_steady() -> None:
    audio = fan(draw(), 20, 32000, 16000)
    spectrum = torch.fft.rfft(audio).abs().square()
    low = spectrum[:, : 3000 * 2].sum(1) / spectrum.sum(1)
    assert low.min() > 0.85
    parts = level_db(audio.unfold(-1, 8000, 8000))
    assert (parts.amax(1) - parts.amin(1)).mean() < 2


def passband_hz(response: Tensor, rate: int) -> tuple[float, float]:
    kept = (response > 10 ** (-3 / 20)).nonzero().flatten()
    per_bin = rate / 2 / (len(response) - 1)
    return float(kept[0]) * per_bin, float(kept[-1]) * per_bin


@pytest.mark.parametrize(
    ("kind", "bottom_hz", "top_hz"),
    [
        ("lowpass", (0, 0), (3000, 7500)),
        ("narrowband", (0, 0), (3680, 4000)),
        ("telephone", (190, 410), (3150, 3620)),
    ],
)
def test_channels_end_where_they_should(
    kind: str, bottom_hz: tuple[float, float], top_hz: tuple[float, float]
) -> None:
    config = dataclasses.replace(PLAIN, **{f"{kind}_share": 1.0})
    for response in draw_channel(draw(), config, 60, 16000, 16000):
        bottom, top = passband_hz(response, 16000)
        assert bottom_hz[0] <= bottom <= bottom_hz[1]
        assert top_hz[0] <= top <= top_hz[1]


def test_a_channel_acts_on_mixture_and_voices_alike(corpus: Corpus) -> None:
    config = dataclasses.replace(PLAIN, telephone_share=1.0, microphone_db=6.0)
    mix, sources = draw_batch(corpus, config, 16, 0.5, generator())
    torch.testing.assert_close(mix, sources.sum(1), atol=1e-6, rtol=0)
    low = level_db(sources) < 20 * np.log10(RMS) - 3
    assert low.any(), "the voice of 300 Hz is below the corner of some telephones"


def test_colouring_changes_the_spectrum_smoothly_and_about_as_much_as_asked() -> None:
    impulse = torch.zeros(40, 1024)
    impulse[:, 0] = 1
    response_db = 20 * torch.log10(
        torch.fft.rfft(filtered(impulse, smooth_response(draw(), 40, 513, 4.0))).abs()
    )
    assert 1 < float(response_db.std()) < 3  # half of the strength is one standard deviation
    assert (response_db[:, 1:] - response_db[:, :-1]).abs().max() < 0.2
    assert response_db.std(0).min() > 0.5


def test_clipping_and_coding_touch_the_mixture_alone_and_mildly(corpus: Corpus) -> None:
    torch.manual_seed(0)
    audio = torch.randn(20, 16000, generator=generator()) * 0.05
    for change, least_db, most_db in ((clipped, 5, 60), (coded, 2, 45)):
        out = change(draw(), audio)
        distance = level_db(audio) - level_db(out - audio)
        assert out.isfinite().all()
        assert distance.min() > least_db
        assert distance.median() < most_db
    config = dataclasses.replace(PLAIN, clip_share=1.0, codec_share=1.0)
    mix, sources = draw_batch(corpus, config, 8, 0.5, generator())
    clean = draw_batch(corpus, PLAIN, 8, 0.5, generator())[1]
    torch.testing.assert_close(sources, clean)
    assert (mix - sources.sum(1)).abs().amax(-1).min() > 1e-4


def test_three_talkers_are_three_people(corpus: Corpus) -> None:
    mix, voices = draw_three(corpus, PLAIN, 24, 1.0, generator())
    torch.testing.assert_close(mix, voices.sum(1))
    pitches = (peak_hz(voices) / 10).round()
    assert all(len(set(row.tolist())) == 3 for row in pitches)
    assert len(set(pitches.flatten().tolist())) == SPEAKERS
    with pytest.raises(ValueError, match="three-talkers: takes 4 people, not 3"):
        draw_three(corpus.speakers(0, 3), PLAIN, 24, 1.0, generator())


def test_muted_mixtures_begin_with_exact_zeros_and_are_the_same_afterwards(corpus: Corpus) -> None:
    noisy = dataclasses.replace(PLAIN, coloured_share=1.0, noise_db=(10.0, 10.0))
    muted = dataclasses.replace(noisy, muted_share=0.5, muted_s=(0.2, 0.6))
    (mix, voices), (whole, _) = (draw_batch(corpus, each, 64, 1.0, generator()) for each in (muted, noisy))
    silent_s = (mix != 0).float().argmax(1) / RATE
    is_muted = silent_s > 0.1
    assert 16 < is_muted.sum() < 48
    assert silent_s[is_muted].min() > 0.19
    assert silent_s[is_muted].max() < 0.61
    for row, start in enumerate((silent_s * RATE).long()):
        assert not voices[row, :, :start].any()
        torch.testing.assert_close(mix[row, start:], whole[row, start:])


def test_silence_stays_silence() -> None:
    silent = Corpus(
        torch.zeros(40000, dtype=torch.int16), torch.tensor([0, 20000]), torch.tensor([20000] * 2), RATE
    )
    config = dataclasses.replace(PLAIN, hum_share=1.0, room_share=1.0, clip_share=1.0, codec_share=1.0)
    mix, sources = draw_batch(silent, config, 4, 0.5, generator())
    assert mix.isfinite().all()
    assert sources.abs().max() < 1e-6


@pytest.mark.parametrize("name", SCENES)
def test_every_scene_can_be_drawn(corpus: Corpus, recorded: Corpus, name: str) -> None:
    mix, sources = draw_batch(corpus, SCENES[name], 2, 1.0, generator(), recorded)
    assert mix.isfinite().all()
    assert sources.isfinite().all()
    assert float(mix.square().mean()) > 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"room_share": 1.5}, "room_share"),
        ({"noise_db": (5.0, 0.0)}, "noise_db"),
        ({"alone_share": 0.6, "turns_share": 0.6}, "alone_share"),
        ({"narrowband_share": 0.6, "telephone_share": 0.6}, "telephone_share"),
        ({"turn_s": (0.0, 1.0)}, "turn_s"),
    ],
)
def test_options_that_make_no_scene_are_named(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SceneConfig(**options)


def test_scene_options_are_read_from_a_training_file(tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    path.write_text("training:\n  scenes:\n    room_share: 0.5\n    decay_s: [0.2, 0.3]\n")
    scenes = read_yaml(path)[1].scenes
    assert (scenes.room_share, scenes.decay_s) == (0.5, (0.2, 0.3))
    path.write_text("training:\n  scenes:\n    rooms: 0.5\n")
    with pytest.raises(ConfigError, match=r"unknown option rooms; known are level_db"):
        read_yaml(path)
