"""The resampler against scipy and soxr, which get the whole signal at once, and against pure tones."""

import math
import time

import numpy as np
import pytest
import scipy.signal
import soxr

from tisdiss_rt.audio.resampling import StreamResampler
from tisdiss_rt.errors import OptionError

RATES = [8000, 11025, 16000, 22050, 44100, 48000, 96000]
PAIRS = [(rate, 16000) for rate in RATES] + [(16000, rate) for rate in RATES if rate != 16000]


def resample(x, from_hz, to_hz, chunk=10**9):
    """A whole signal (n,) or (n, channels), chunk by chunk."""
    x = x[:, None] if x.ndim == 1 else x
    stream = StreamResampler(from_hz, to_hz, x.shape[1])
    pieces = [stream.process(x[begin : begin + chunk]) for begin in range(0, len(x), chunk)]
    return np.concatenate([*pieces, stream.flush()])


def tone(frequency, rate, seconds=0.5):
    return np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate).astype(np.float32)


def middle(x):
    return x[len(x) // 8 : -len(x) // 8]


def level_db(x, reference=1.0):
    return 20 * np.log10(np.sqrt(np.mean(np.square(x, dtype=np.float64))) * math.sqrt(2) / reference + 1e-12)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_tones_in_the_passband_are_exact_and_in_place(from_hz, to_hz):
    top = 0.875 * min(from_hz, to_hz) / 2
    for frequency in (100, 0.3 * top, 0.7 * top, top):
        out = resample(tone(frequency, from_hz), from_hz, to_hz)[:, 0]
        error = middle(out - tone(frequency, to_hz, len(out) / to_hz)[: len(out)])
        assert level_db(error) < -60, frequency  # 0.01 dB, or a thousandth of a period


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(48000, 16000), (44100, 16000), (96000, 16000), (16000, 8000)]
)
@pytest.mark.parametrize("share", [1.001, 1.03, 1.2, 1.7])
def test_nothing_comes_back_from_beyond_the_lower_nyquist_frequency(from_hz, to_hz, share):
    out = resample(tone(share * to_hz / 2, from_hz), from_hz, to_hz)
    assert level_db(middle(out)) < -60


@pytest.mark.parametrize("to_hz", [44100, 48000])
def test_no_images_when_the_rate_rises(to_hz, noise):
    x = scipy.signal.sosfilt(scipy.signal.butter(12, 6500, fs=16000, output="sos"), noise(16000))
    out = resample(x.astype(np.float32), 16000, to_hz)[:, 0]
    spectrum = np.abs(np.fft.rfft(middle(out) * np.hanning(len(middle(out)))))
    images = np.fft.rfftfreq(len(middle(out)), 1 / to_hz) > 8100
    assert 20 * np.log10(spectrum[images].max() / spectrum.max()) < -60


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_agrees_with_others_on_speech_like_sound(from_hz, to_hz, noise):
    edge_hz = 0.7 * min(from_hz, to_hz) / 2
    x = scipy.signal.sosfiltfilt(scipy.signal.butter(8, edge_hz, fs=from_hz, output="sos"), noise(from_hz))
    ours = middle(resample(x.astype(np.float32), from_hz, to_hz)[:, 0])
    theirs = [soxr.resample(x, from_hz, to_hz, "VHQ")]
    if from_hz != to_hz:
        divisor = math.gcd(from_hz, to_hz)
        # scipy's default filter is short; beta 8 and a length of its own make it a fair judge.
        up, down = to_hz // divisor, from_hz // divisor
        taps = scipy.signal.firwin(128 * max(up, down) + 1, 0.95 / max(up, down), window=("kaiser", 8.0))
        theirs.append(scipy.signal.resample_poly(x, up, down, window=taps))
    for expected in theirs:
        assert level_db(ours - middle(expected)) < level_db(middle(expected)) - 55


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_chunks_make_no_difference(from_hz, to_hz, noise):
    x = noise(9001, 2)
    whole = resample(x, from_hz, to_hz)
    assert whole.dtype == np.float32
    for chunk in (1, 17, 128, 4410):
        part = x[:700] if chunk == 1 else x
        expected = resample(part, from_hz, to_hz)
        np.testing.assert_allclose(resample(part, from_hz, to_hz, chunk), expected, atol=1e-6)


@pytest.mark.parametrize(("from_hz", "to_hz"), [*PAIRS, (44099, 16000), (16000, 12345)])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 100, 4409])
def test_the_length_is_rounded_up(from_hz, to_hz, length, noise):
    out = resample(noise(length), from_hz, to_hz, 64)
    assert out.shape == (math.ceil(length * to_hz / from_hz), 1)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_every_output_comes_as_soon_as_the_latency_allows(from_hz, to_hz, noise):
    stream = StreamResampler(from_hz, to_hz, 1)
    longest_s = 0 if from_hz == to_hz else 32 / min(from_hz, to_hz) + 1 / from_hz
    assert stream.latency_s <= longest_s
    came = 0
    for heard in range(1, 1500):
        came += len(stream.process(noise(1)[:, None]))
        # Output i lies at i / to_hz, the newest input sample at (heard - 1) / from_hz.
        after_it = heard - 1 - round(stream.latency_s * from_hz)
        due = after_it * to_hz // from_hz + 1 if after_it >= 0 else 0
        assert due <= came <= due + math.ceil(to_hz / from_hz)


def test_two_milliseconds_between_48_and_16_khz():
    assert StreamResampler(48000, 16000, 1).latency_s <= 0.002
    assert StreamResampler(16000, 48000, 1).latency_s <= 0.002


def test_equal_rates_pass_through(noise):
    x = noise(1000, 3)
    np.testing.assert_array_equal(resample(x, 44100, 44100, 64), x)


def test_channels_do_not_mix(noise):
    x = noise(3000, 3)
    out = resample(x, 16000, 44100)
    for channel in range(3):
        np.testing.assert_allclose(out[:, channel], resample(x[:, channel], 16000, 44100)[:, 0], atol=1e-6)


def test_a_flushed_or_reset_stream_begins_anew(noise):
    x = noise(1000, 1)
    stream = StreamResampler(44100, 16000, 1)
    first = np.concatenate([stream.process(x), stream.flush()])
    second = np.concatenate([stream.process(x), stream.flush()])
    stream.process(x[:333])
    stream.reset()
    third = np.concatenate([stream.process(x), stream.flush()])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_nothing_drifts_or_grows_in_a_long_stream():
    """Twenty minutes at a rate whose ratio has no short form: the last tone is still in place."""
    rate, seconds = 11025, 1200
    stream = StreamResampler(rate, 16000, 1)
    second = tone(1000, rate, 1.0)[:, None]  # whole periods: it repeats without a seam
    came, buffered = 0, set()
    for _ in range(seconds):
        out = stream.process(second)[:, 0]
        expected = np.sin(2 * np.pi * 1000 * (came + np.arange(len(out))) / 16000)
        came += len(out)
        buffered.add(len(stream._history))
    assert level_db(out - expected) < -60
    assert came + len(stream.flush()) == seconds * 16000
    assert max(buffered) < 200


@pytest.mark.realtime
@pytest.mark.parametrize(("from_hz", "to_hz", "channels"), [(48000, 16000, 1), (16000, 48000, 2)])
def test_costs_little(from_hz, to_hz, channels, noise):
    stream = StreamResampler(from_hz, to_hz, channels)
    chunk = noise(round(0.008 * from_hz), channels)
    fastest_s = math.inf
    for _ in range(200):
        begin = time.perf_counter()
        stream.process(chunk)
        fastest_s = min(fastest_s, time.perf_counter() - begin)
    assert fastest_s < 0.05 * 0.008


@pytest.mark.parametrize("rates", [(0, 16000), (16000, -1)])
def test_impossible_rates(rates):
    with pytest.raises(OptionError, match="above 0"):
        StreamResampler(*rates, 1)
