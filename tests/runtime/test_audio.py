import io
import itertools
import os
import struct
import subprocess
import sys
import threading
import time
from unittest.mock import Mock

import numpy as np
import pytest
import soundfile
from scipy import signal

from tisdiss_rt.audio import files, results
from tisdiss_rt.audio.blocks import ahead, fit_length, resample
from tisdiss_rt.audio.files import AudioReader
from tisdiss_rt.audio.results import WavWriters
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


def test_standard_input_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(AudioError, match="standard input: is closed"):
        read("-")


def test_standard_input_without_a_place_for_a_copy(tmp_path, noise, monkeypatch):
    def no_place():
        raise FileNotFoundError(2, "No usable temporary directory found")

    soundfile.write(tmp_path / "a.wav", noise(1000), 8000)
    content = io.TextIOWrapper(io.BytesIO((tmp_path / "a.wav").read_bytes()))
    monkeypatch.setattr(sys, "stdin", content)
    monkeypatch.setattr(files.tempfile, "TemporaryFile", no_place)
    np.testing.assert_allclose(read("-")[0], noise(1000), atol=1e-4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe(tmp_path, noise):
    soundfile.write(tmp_path / "a.wav", noise(1000), 8000)
    os.mkfifo(tmp_path / "pipe")
    content = (tmp_path / "a.wav").read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    np.testing.assert_allclose(read(tmp_path / "pipe")[0], noise(1000), atol=1e-4)
    writer.join()


# ---- lengths ----


@pytest.mark.parametrize("suffix", ["wav", "rf64", "flac", "aiff", "au", "w64", "mp3", "caf"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_what_is_there_of_a_truncated_file_is_read(tmp_path, noise, suffix, share):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(100_000), 16000, format=suffix)
    whole = soundfile.read(path, dtype="float32")[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    there, reader = read(path)
    assert share * 100_000 - 5000 < len(there) == reader.done < share * 100_000 + 3000
    np.testing.assert_allclose(there[:-2000], whole[: len(there) - 2000], atol=1e-6)
    assert reader.missing_s == pytest.approx((100_000 - len(there)) / 16000, abs=0.01)
    assert f"truncated: {reader.missing_s:.1f} s of 6.2 s are missing" in reader.problem


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_without_its_last_page_is_cut(tmp_path, noise, subtype):
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(100_000), 16000, format="OGG", subtype=subtype)
    assert read(path)[1].problem is None
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    there, reader = read(path)
    assert 20_000 < len(there) < 70_000
    assert "cut off" in reader.problem


def test_joined_ogg_streams_are_read_to_their_end(tmp_path, noise):
    for name, rate, channels in (("one", 16000, 1), ("two", 16000, 2), ("three", 8000, 1)):
        soundfile.write(tmp_path / f"{name}.ogg", noise(30_000, channels), rate)
    one, two, three = ((tmp_path / f"{name}.ogg").read_bytes() for name in ("one", "two", "three"))
    (tmp_path / "a.ogg").write_bytes(one + two + one)
    there, reader = read(tmp_path / "a.ogg")
    assert (reader.frames, reader.done, reader.problem) == (90_000, 90_000, None)
    parts = [soundfile.read(tmp_path / f"{name}.ogg", always_2d=True)[0] for name in ("one", "two", "one")]
    np.testing.assert_allclose(there, np.concatenate([part.mean(axis=1) for part in parts]), atol=1e-6)
    (tmp_path / "a.ogg").write_bytes(one + three)
    there, reader = read(tmp_path / "a.ogg")
    assert len(there) == 30_000
    assert "8000 Hz" in reader.problem


def test_a_damaged_file_is_read_up_to_there(tmp_path, noise):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(100_000), 16000)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 50] = bytes(50)
    path.write_bytes(content)
    there, reader = read(path)
    assert 40_000 < len(there) < 52_000
    np.testing.assert_allclose(there, noise(100_000)[: len(there)], atol=1e-4)
    assert "s are missing: " in reader.problem
    path.write_bytes(content[:100] + bytes(len(content) - 100))
    with pytest.raises(AudioError, match=r"a\.flac: (damaged|not readable)"):
        read(path)


def wav(data_bytes, content, form=b"RIFF", before=b"", after=b""):
    """A WAV file, 16 bits, mono, 16 kHz, whose header says ``data_bytes``."""
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16) + before
    riff = struct.pack("<I", (len(chunks) + 12 + data_bytes) % 2**32)
    return form + riff + b"WAVE" + chunks + b"data" + struct.pack("<I", data_bytes) + content + after


PCM = (np.random.default_rng(0).uniform(-0.5, 0.5, 1000) * 2**15).astype("<i2")
LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"


@pytest.mark.parametrize(
    "size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF - 36, 0x7FFFF000, 0xFFFFFFFF - 36, 0, 2001, 2044]
)
@pytest.mark.parametrize("before", [b"", LIST])
def test_wav_whose_size_is_unknown_or_slightly_wrong(tmp_path, size, before):
    """Programs that write to a pipe cannot know it; some count the header."""
    (tmp_path / "a.wav").write_bytes(wav(size, PCM.tobytes(), before=before))
    there, reader = read(tmp_path / "a.wav")
    np.testing.assert_allclose(there, PCM / 2**15, atol=1e-6)
    assert (reader.missing_s, reader.problem) == (0, None)


def test_what_a_recorder_planned_is_missing(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(3600 * 32000, PCM.tobytes()))
    there, reader = read(tmp_path / "a.wav")
    assert len(there) == 1000
    assert reader.missing_s == pytest.approx(3600 - 1000 / 16000)
    (tmp_path / "a.wav").write_bytes(wav(3_000_000_000, PCM.tobytes()))  # no mark for "unknown"
    assert read(tmp_path / "a.wav")[1].missing_s == pytest.approx(3e9 / 32000, rel=1e-3)
    before = b"JUNK" + struct.pack("<I", 4000) + bytes(4000)  # only as many as this header has may be counted
    for more, missing_s in ((2000, 1000 / 16000), (44 + 4008, 0), (36 + 4008, 0), (5000, 2500 / 16000)):
        (tmp_path / "a.wav").write_bytes(wav(2000 + more, PCM.tobytes(), before=before))
        assert read(tmp_path / "a.wav")[1].missing_s == missing_s


def test_chunks_behind_the_audio_are_no_audio(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(2000, PCM.tobytes(), after=LIST))
    assert len(read(tmp_path / "a.wav")[0]) == 1000
    (tmp_path / "a.wav").write_bytes(wav(0, b"", after=LIST))
    with pytest.raises(AudioError, match="no samples"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("written", ["unknown", "wrapped", "RF64"])
def test_wav_of_more_than_4_gb(tmp_path, written):
    """Sparse: silence of 2**32 bytes and a bit, then sound."""
    silent = 2**32 + 2**20
    size = {"unknown": 0xFFFFFFFF, "wrapped": 2**20 + 2000, "RF64": 0xFFFFFFFF}[written]
    ds64 = b"ds64" + struct.pack("<IqqqI", 28, 0, 0, 0, 0) if written == "RF64" else b""
    head = wav(size, b"", b"RF64" if ds64 else b"RIFF")
    head = head[:12] + ds64 + head[12:]
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(head)
        file.seek(len(head) + silent)
        file.write(PCM.tobytes())
    with AudioReader(tmp_path / "a.wav") as reader:
        assert reader.frames == silent // 2 + 1000
        reader._files[0].seek(silent // 2)
        np.testing.assert_allclose(next(iter(reader.blocks())), PCM / 2**15, atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "mark", "offset", "sizes"),
    [
        ("caf", b"data", 4, [">q", -1, 0]),
        ("au", b".snd", 8, [">I", 0, 0xFFFFFFFF]),
        ("rf64", b"ds64", 16, ["<q", 0, -1]),
        ("aiff", b"SSND", 4, [">I", 0, 0xFFFFFFFF, 0x7F000008]),
    ],
)
def test_unknown_sizes_of_other_formats(tmp_path, suffix, mark, offset, sizes):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, PCM / 2**15, 16000, format=suffix, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    for size in sizes[1:]:
        struct.pack_into(sizes[0], content, content.index(mark) + offset, size)
        path.write_bytes(content)
        there, reader = read(path)
        np.testing.assert_allclose(there, PCM / 2**15, atol=1e-4)
        assert reader.problem is None


def test_flac_of_unknown_length(tmp_path, noise):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(10_000), 16000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the 36 bits of the number of samples
    content[22:26] = bytes(4)
    path.write_bytes(content)
    there, reader = read(path)
    np.testing.assert_allclose(there, noise(10_000), atol=1e-4)
    assert (reader.frames, reader.problem) == (None, None)


def mp3_without_header(path):
    """An MP3 of 100 000 samples without the first frame, which says how many there are."""
    tone = 0.4 * np.sin(np.arange(100_000) * 0.2)
    soundfile.write(path, tone, 16000, format="MP3")
    content = path.read_bytes()
    assert b"Xing" in content[:200] or b"Info" in content[:200]
    return content[content.index(content[:2], 170) :], content


@pytest.mark.parametrize("picture", [0, 100_000])
def test_mp3_is_read_to_its_end(tmp_path, picture):
    path = tmp_path / "a.mp3"
    bare, _ = mp3_without_header(path)
    size = bytes((picture >> shift) & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\x03\0\0" + size + b"APIC" + bytes(picture - 4) if picture else b""
    path.write_bytes(tag + bare + b"TAG" + bytes(125))
    there, reader = read(path)
    assert 100_000 <= len(there) < 103_000
    assert (reader.frames, reader.problem) == (None, None)


@pytest.mark.parametrize("tag", [b"", b"ID3\x03\0\0\0\0\0\x10" + bytes(16)])
def test_joined_mp3s_are_read_to_their_end(tmp_path, tag):
    path = tmp_path / "a.mp3"
    _, whole = mp3_without_header(path)
    path.write_bytes(whole + tag + whole)
    there, reader = read(path)
    assert 200_000 <= len(there) < 206_000
    assert np.abs(there[150_000:190_000]).max() > 0.3
    assert reader.problem is None


@pytest.mark.parametrize("suffix", ["flac", "aiff"])
def test_a_tag_before_a_file_hides_nothing(tmp_path, noise, suffix):
    soundfile.write(tmp_path / f"a.{suffix}", noise(50_000), 16000)
    content = (tmp_path / f"a.{suffix}").read_bytes()
    tag = b"ID3\x03\0\0\0\0\0\x10" + bytes(16)
    tagged = tmp_path / f"tagged.{suffix}"
    tagged.write_bytes(tag + content)
    there, _ = read(tmp_path / f"a.{suffix}")
    found, tagged_reader = read(tagged)
    np.testing.assert_array_equal(found, there)
    assert (tagged_reader.frames, tagged_reader.problem) == (50_000, None)
    with AudioReader(tagged, 1.0, 1.0) as part:
        np.testing.assert_array_equal(np.concatenate(list(part.blocks())), there[16000:32000])
    tagged.write_bytes(tag + content[: len(content) // 2])
    found, cut = read(tagged)
    assert 16000 < len(found) < 32000
    assert "truncated" in cut.problem


@pytest.mark.parametrize("rate", [2_000_000_000, 10_000_001])
def test_rates_that_no_sound_has_are_refused(tmp_path, noise, rate):
    soundfile.write(tmp_path / "a.wav", noise(100), 16000, "FLOAT")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match="is no sample rate"):
        AudioReader(tmp_path / "a.wav")


@pytest.mark.parametrize("at", [176, 180, 187])
def test_words_at_the_end_of_what_is_looked_at(tmp_path, at):
    (tmp_path / "a.mp3").write_bytes(b"\xff\xfb\x90\x64" + bytes(at - 4) + b"Info" + bytes(5000))
    with pytest.raises(AudioError):
        read(tmp_path / "a.mp3")


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "w64", "mp3", "ogg"])
@pytest.mark.parametrize("start", [0, 1, 4095, 4096, 40_000])
@pytest.mark.parametrize("length", [1, 4096, 5000, None])
def test_parts_are_what_the_whole_has_there(tmp_path, noise, suffix, start, length):
    rate = 16000
    soundfile.write(tmp_path / f"a.{suffix}", noise(50_001, 2), rate)
    with AudioReader(tmp_path / f"a.{suffix}") as reader:
        whole = np.concatenate(list(reader.columns()))
    length_s = None if length is None else length / rate
    with AudioReader(tmp_path / f"a.{suffix}", start / rate, length_s) as reader:
        for _ in range(2):
            part = np.concatenate(list(reader.columns()))
            np.testing.assert_array_equal(part, whole[start:][:length])
            assert reader.done == len(part)
        assert reader.frames in (len(part), None)
        assert (reader.problem, reader.missing_s) == (None, 0.0)


def test_parts_that_are_not_there(tmp_path, noise):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(32000), 16000)
    with pytest.raises(AudioError, match=r"a\.wav: has 2\.0 s, and the part begins at 2\.5 s"):
        AudioReader(path, 2.5, 1.0)
    for length_s, problem in ((0.55, None), (1.5, "truncated: 1.0 s of 1.5 s are missing")):
        with AudioReader(path, 1.5, length_s) as reader:
            assert sum(len(block) for block in reader.blocks()) == 8000
            assert reader.fault == problem
    path.write_bytes(path.read_bytes()[: 44 + 2 * 16000])  # now the second half is missing
    for start_s, length_s, problem in (
        (0.0, 0.5, None),
        (0.5, 0.5, None),
        (0.5, 1.0, "truncated: 0.5 s of 1.0 s are missing"),
        (0.5, None, "truncated: 1.0 s of 1.5 s are missing"),
    ):
        with AudioReader(path, start_s, length_s) as reader:
            assert sum(len(block) for block in reader.blocks()) == 8000
            assert reader.fault == problem


def test_parts_of_a_file_that_does_not_know_its_length(tmp_path, noise):
    """All that says how long it is are the bytes 21 to 25 of a FLAC file."""
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(32000), 16000)
    content = path.read_bytes()
    path.write_bytes(content[:21] + bytes([content[21] & 0xF0]) + bytes(4) + content[26:])
    for start_s, length_s, problem in (
        (1.5, 0.5, None),
        (1.5, None, None),
        (1.5, 1.5, "truncated: 1.0 s of 1.5 s are missing"),
    ):
        with AudioReader(path, start_s, length_s) as reader:
            assert reader.frames is None
            assert sum(len(block) for block in reader.blocks()) == 8000
            assert reader.fault == problem
    with (
        AudioReader(path, 2.5, 1.0) as reader,
        pytest.raises(AudioError, match=r"a\.flac: has 2\.0 s, and the part begins at 2\.5 s"),
    ):
        list(reader.blocks())


def test_what_is_in_a_file_can_be_read_without_one(tmp_path, noise):
    data = noise(5000)
    soundfile.write(tmp_path / "a.flac", data, 16000)
    with AudioReader(io.BytesIO((tmp_path / "a.flac").read_bytes())) as reader:
        np.testing.assert_allclose(np.concatenate(list(reader.blocks())), data, atol=1e-4)
    with pytest.raises(AudioError, match="the recording: not readable as audio"):
        AudioReader(io.BytesIO(b"text"))


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


def threads_ahead():
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_blocks_are_ready_ahead_but_not_all():
    made = []

    def blocks():
        for number in range(300):
            made.append(number)
            yield np.full(3, number)

    taken = []
    for block in ahead(blocks()):
        taken.append(block[0])
        if len(taken) == 10:
            time.sleep(0.1)
            assert 10 < len(made) < 150
    assert taken == list(range(300))
    assert not threads_ahead()


def test_errors_and_ends_of_what_is_ready_ahead():
    def failing():
        yield np.zeros(3)
        raise AudioError("damaged")

    blocks = ahead(failing())
    assert len(next(blocks)) == 3
    with pytest.raises(AudioError, match="damaged"):
        next(blocks)
    endless = ahead(itertools.repeat(np.zeros(3)))
    next(endless)
    assert threads_ahead()
    endless.close()
    assert not threads_ahead()


INTERRUPTED = """
import itertools, random, signal
from tisdiss_rt.audio.blocks import ahead
signal.signal(signal.SIGALRM, signal.default_int_handler)
for _ in range(1000):
    blocks = ahead(itertools.repeat([0.0]))
    try:
        next(blocks)
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 1e-3))
        for _ in blocks:
            pass
    except KeyboardInterrupt:
        blocks.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts itself as Unix can")
def test_what_is_ready_ahead_can_be_interrupted_at_any_moment():
    subprocess.run([sys.executable, "-c", INTERRUPTED], check=True, timeout=100)


def test_short_recordings_are_decoded_once(tmp_path, noise, monkeypatch):
    soundfile.write(tmp_path / "a.flac", noise(20_000, 2), 44100)
    for most, times in ((2**22, 1), (30_000, 3)):
        monkeypatch.setattr(files, "_KEPT_SAMPLES", most)
        with AudioReader(tmp_path / "a.flac") as reader:
            monkeypatch.setattr(reader, "_read", Mock(side_effect=reader._read))
            mixture = reader.mixture()
            assert len(next(iter(mixture.columns()))) == 4096  # not to the end
            found = [np.concatenate(list(mixture.columns())) for _ in range(3)]
            assert reader._read.call_count == 1 + times * 6  # five blocks, and the end
            assert reader.done == 20_000
        for again in found[1:]:
            np.testing.assert_array_equal(again, found[0])


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
    back = np.concatenate(list(fit_length(resample(model, 16000, rate), lambda: rate, 2)))
    inner = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(back[inner], tones[inner], atol=1e-3)


def test_equal_rates_change_nothing(noise):
    data = noise(100)
    assert next(resample(iter([data]), 8000, 8000)) is data
    assert list(resample(iter([]), 8000, 16000)) == []


@pytest.mark.parametrize("frames", [1, 9, 10, 11, 20, 25])
def test_fit_length(frames):
    data = np.arange(40, dtype=np.float32).reshape(20, 2) + 1
    result = np.concatenate(list(fit_length(iter([data[:10], data[:0], data[10:]]), lambda: frames, 2)))
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


@pytest.mark.parametrize("frames", [1000, None])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "FLOAT"])
def test_files_say_what_they_were_separated_from(tmp_path, noise, frames, subtype):
    (tmp_path / "recording").write_bytes(b"sound")
    origin = results.digest_of(tmp_path / "recording")
    for own in (origin, None):
        with WavWriters([tmp_path / "a.wav"], 8000, subtype, frames, own) as writers:
            writers.write(noise(1000, 1)[:999])
        found = results.origin_in(tmp_path / "a.wav")
        assert (found and found.digest) == own
        np.testing.assert_allclose(soundfile.read(tmp_path / "a.wav")[0], noise(1000)[:999], atol=1e-2)
        info = soundfile.info(tmp_path / "a.wav")
        assert (info.frames, info.format, info.subtype) == (999, "WAV", subtype)
        with AudioReader(tmp_path / "a.wav") as reader:
            assert sum(map(len, reader.blocks())) == 999
            assert reader.problem is None
    with WavWriters([tmp_path / "a.wav"], 8000, "PCM_16", 999, origin) as writers:
        writers.write(noise(999, 1))
        writers.fault = "truncated: 1.0 s of 2.0 s are missing: größer\n"
    found = results.origin_in(tmp_path / "a.wav")
    assert found == results.Origin(origin, "truncated: 1.0 s of 2.0 s are missing: gr\\xf6\\xdfer\\n")
    assert results.digest_of(tmp_path / "recording", 2) == f"{origin} channel 2"
    (tmp_path / "recording").write_bytes(b"another sound")
    assert results.digest_of(tmp_path / "recording") != origin
    for no_file in (tmp_path, tmp_path / "gone", "-"):
        assert results.digest_of(no_file) is None
    assert results.origin_in(tmp_path / "recording") is None


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24"])
def test_large_files_say_what_they_were_separated_from(tmp_path, noise, monkeypatch, subtype):
    monkeypatch.setattr(results, "_WAV_LIMIT_BYTES", 900)
    for frames in (999, 1000, None):
        with WavWriters([tmp_path / "a.wav"], 8000, subtype, frames, 64 * "0") as writers:
            writers.write(noise(frames or 999, 1))
            writers.add_turns(tmp_path / "a.rttm", "SPEAKER a")
            writers.fault = "too short"
        assert soundfile.info(tmp_path / "a.wav").format == "RF64"
        assert soundfile.info(tmp_path / "a.wav").frames == (frames or 999)
        turns = results.digest_of(tmp_path / "a.rttm")
        assert results.origin_in(tmp_path / "a.wav") == results.Origin(64 * "0", "too short", turns)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write to .*file"):
        WavWriters([tmp_path / "new.wav", tmp_path / "file" / "a.wav"], 8000, "FLOAT", 1).__enter__()
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_where_the_turns_are_to_be(tmp_path, noise):
    (tmp_path / "a.rttm").mkdir()
    with (
        pytest.raises(OutputError, match=r"a\.rttm is a folder"),
        WavWriters([tmp_path / "a.wav"], 8000, "FLOAT", 9) as writers,
    ):
        writers.write(noise(9, 1))
        writers.add_turns(tmp_path / "a.rttm", "SPEAKER a")
    assert [p.name for p in tmp_path.iterdir()] == ["a.rttm"], "no voice without its turns"


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
    assert results._WAV_LIMIT_BYTES < 2**32
    with WavWriters([tmp_path / "a.wav"], 8000, "PCM_16", None) as writers:  # may become large, but does not
        writers.write(noise(10, 1))
    assert soundfile.info(tmp_path / "a.wav").format == "WAV"
    np.testing.assert_allclose(soundfile.read(tmp_path / "a.wav")[0], noise(10), atol=1e-4)
