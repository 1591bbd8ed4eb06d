import io
import struct
import sys

import numpy as np
import pytest
import soundfile
from scipy import signal

from tisdiss_rt.audio import files
from tisdiss_rt.audio.files import AudioReader, WavWriters, fit_length, resample
from tisdiss_rt.errors import AudioError, OutputError


def read(path):
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks())), reader


@pytest.mark.parametrize(
    ("suffix", "subtype", "result", "tolerance"),
    [
        ("wav", "PCM_U8", "PCM_U8", 1e-2),
        ("wav", "PCM_16", "PCM_16", 1e-4),
        ("wav", "PCM_24", "PCM_24", 1e-6),
        ("wav", "PCM_32", "PCM_32", 1e-7),
        ("wav", "FLOAT", "FLOAT", 0),
        ("wav", "DOUBLE", "DOUBLE", 0),
        ("wav", "ULAW", "PCM_16", 2e-2),
        ("flac", "PCM_S8", "PCM_U8", 1e-2),
        ("flac", "PCM_16", "PCM_16", 1e-4),
        ("flac", "PCM_24", "PCM_24", 1e-6),
        ("aiff", "PCM_24", "PCM_24", 1e-6),
        ("w64", "FLOAT", "FLOAT", 0),
        ("caf", "PCM_16", "PCM_16", 1e-4),
        ("ogg", "VORBIS", "PCM_16", 0.02),
        ("mp3", "MPEG_LAYER_III", "PCM_16", 0.05),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_formats(tmp_path, noise, suffix, subtype, result, tolerance, channels):
    rate = 44100
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(70001) / rate)
    data = np.stack([tone, 0.5 * tone], axis=1)[:, :channels]
    soundfile.write(tmp_path / f"a.{suffix}", data, rate, subtype=subtype)
    mono, reader = read(tmp_path / f"a.{suffix}")
    assert (reader.sample_rate, reader.frames, reader.subtype) == (rate, 70001, result)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, data.mean(axis=1), atol=tolerance + 1e-7)


def test_eight_channels_are_averaged(tmp_path, noise):
    data = noise(1000, 8)
    soundfile.write(tmp_path / "a.wav", data, 48000, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav")[0], data.mean(axis=1), atol=1e-7)


def test_standard_input(tmp_path, noise, monkeypatch):
    data = noise(1000)
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"a.{suffix}", data, 8000)
        content = (tmp_path / f"a.{suffix}").read_bytes()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        np.testing.assert_allclose(read("-")[0], data, atol=1e-4)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(AudioError, match="standard input: not readable"):
        read("-")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "w64", "mp3", "caf"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_files_are_refused(tmp_path, noise, suffix, share):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(100_000), 16000)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(AudioError, match=r"a\.\w+: (truncated|damaged|not readable)"):
        read(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF - 36])
def test_unknown_size_is_not_truncation(tmp_path, noise, size):
    """Programs that write WAV to a pipe cannot know its length."""
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(1000), 16000)
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, 4, size)
    struct.pack_into("<I", content, content.index(b"data") + 4, size)
    path.write_bytes(content)
    np.testing.assert_allclose(read(path)[0], noise(1000), atol=1e-4)


def test_flac_of_unknown_length_is_explained(tmp_path, noise):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(1000), 16000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of the number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="does not say how long"):
        read(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 99_999])
def test_nan_and_infinity_are_refused(tmp_path, noise, bad, place):
    data = noise(100_000, 2)
    data[place, 1] = bad
    soundfile.write(tmp_path / "a.wav", data, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="NaN or infinite"):
        read(tmp_path / "a.wav")


def test_other_bad_input(tmp_path):
    (tmp_path / "text.wav").write_text("this is a text " * 20)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "headerless.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), 16000)
    for name, message in (
        ("text.wav", "not readable as audio: format not recognised"),
        ("empty.wav", "not readable as audio"),
        ("headerless.raw", "not readable as audio"),
        ("nothing.wav", "has no samples"),
        ("missing.wav", "no such file"),
        (".", "is a folder"),
    ):
        with pytest.raises(AudioError, match=message) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)


# ---- resampling ----


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44100, 16000), (8000, 16000), (16000, 48000)])
def test_resampling_agrees_with_scipy(from_hz, to_hz):
    tone = np.sin(2 * np.pi * 440 * np.arange(from_hz) / from_hz).astype(np.float32)
    blocks = (tone[i : i + 1000] for i in range(0, len(tone), 1000))
    result = np.concatenate(list(resample(blocks, from_hz, to_hz)))
    divisor = np.gcd(from_hz, to_hz)
    expected = signal.resample_poly(tone, to_hz // divisor, from_hz // divisor)
    assert abs(len(result) - len(expected)) <= 1
    inner = slice(500, min(len(result), len(expected)) - 500)
    np.testing.assert_allclose(result[inner], expected[inner], atol=3e-3)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192000])
def test_there_and_back_is_the_same_signal(rate):
    time_s = np.arange(rate) / rate
    tones = np.stack([np.sin(2 * np.pi * f * time_s) for f in (300, 1100)], axis=1).astype(np.float32)
    model = resample((tones[i : i + 777] for i in range(0, rate, 777)), rate, 16000)
    back = np.concatenate(list(fit_length(resample(model, 16000, rate), rate, 2)))
    inner = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(back[inner], tones[inner], atol=1e-3)


def test_equal_rates_change_nothing(noise):
    data = noise(100)
    assert next(resample(iter([data]), 8000, 8000)) is data
    assert list(resample(iter([]), 8000, 16000)) == []


@pytest.mark.parametrize("frames", [1, 9, 10, 11, 20, 25])
def test_fit_length(frames):
    data = np.arange(40, dtype=np.float32).reshape(20, 2) + 1
    result = np.concatenate(list(fit_length(iter([data[:10], data[:0], data[10:]]), frames, 2)))
    expected = np.concatenate([data, np.zeros((5, 2))])[:frames]
    np.testing.assert_array_equal(result, expected)


# ---- writing ----


def test_files_appear_at_the_end(tmp_path, noise):
    paths = [tmp_path / "new" / "deep" / f"{name}.wav" for name in "ab"]
    data = noise(1000, 2)
    with WavWriters(paths, 22050, "PCM_24", 1000) as writers:
        writers.write(data[:300])
        writers.write(data[300:])
        assert not any(path.exists() for path in paths)
    assert sorted(p.name for p in paths[0].parent.iterdir()) == ["a.wav", "b.wav"]
    for path, expected in zip(paths, data.T, strict=True):
        result, rate = soundfile.read(path)
        assert (rate, soundfile.info(path).subtype, soundfile.info(path).format) == (22050, "PCM_24", "WAV")
        np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_remains_after_a_failure(tmp_path, noise, error):
    (tmp_path / "a.wav").write_text("old")
    with (
        pytest.raises(error),
        WavWriters([tmp_path / "a.wav", tmp_path / "x" / "b.wav"], 8000, "FLOAT", 9) as w,
    ):
        w.write(noise(9, 2))
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_text() == "old"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*file"):
        WavWriters([tmp_path / "new.wav", tmp_path / "file" / "a.wav"], 8000, "FLOAT", 1).__enter__()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk(tmp_path, noise, monkeypatch):
    def fail(self, data):
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr(soundfile.SoundFile, "write", fail)
    with (
        pytest.raises(OutputError, match="cannot write to"),
        WavWriters([tmp_path / "a.wav"], 8000, "FLOAT", 9) as w,
    ):
        w.write(noise(9, 1))
    assert list(tmp_path.iterdir()) == []


def test_clipping_is_counted_and_does_not_wrap(tmp_path):
    data = np.array([[0.5], [1.5], [-3.0], [1.0], [-1.0]], np.float32)
    with WavWriters([tmp_path / "pcm.wav"], 8000, "PCM_16", 5) as writers:
        writers.write(data)
    assert writers.clipped == 2
    np.testing.assert_allclose(soundfile.read(tmp_path / "pcm.wav")[0], [0.5, 1, -1, 1, -1], atol=1e-4)
    with WavWriters([tmp_path / "float.wav"], 8000, "FLOAT", 5) as writers:
        writers.write(data)
    assert writers.clipped == 0
    np.testing.assert_array_equal(soundfile.read(tmp_path / "float.wav")[0], data[:, 0])


def test_very_large_files_get_a_header_that_holds_their_size(tmp_path, noise):
    for frames, expected in ((2**30 - 2**15, "WAV"), (2**30, "RF64")):
        with WavWriters([tmp_path / "a.wav"], 8000, "FLOAT", frames) as writers:
            writers.write(noise(10, 1))
        assert soundfile.info(tmp_path / "a.wav").format == expected
    assert files._WAV_LIMIT_BYTES < 2**32
