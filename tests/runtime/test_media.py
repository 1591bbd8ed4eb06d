"""Files that libsndfile does not read: m4a, mp4, webm and their like, with PyAV and without."""

from __future__ import annotations

import shutil
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr
from commands import invoke
from example import FOLDER, mixture

from tisdiss_rt.audio import media
from tisdiss_rt.audio.files import AudioReader
from tisdiss_rt.errors import AudioError, SeparationWarning

av = pytest.importorskip("av")
LOSSLESS = [("voice.m4a", "alac"), ("voice.mka", "flac"), ("voice.avi", "pcm_s16le")]
LOSSY = [("voice.mp4", "aac"), ("voice.webm", "libopus"), ("voice.aac", "aac"), ("voice.wma", "wmav2")]


def sound() -> np.ndarray:
    """3 s of speech at 48 kHz, softer on the right: (n, 2), whole numbers of 16 bits."""
    mono = soxr.resample(mixture(), 16000, 48000)[: 3 * 48000]
    return np.round(np.stack([mono, 0.5 * mono], axis=1) * 32768) / 32768


def write(path: Path, samples: np.ndarray, codec: str, pictures: int = 0, title: str = "") -> Path:
    with av.open(str(path), "w") as container:
        container.metadata["title"] = title
        if pictures:
            picture = container.add_stream("mpeg4", rate=25)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
        track = container.add_stream(codec, rate=48000, layout="stereo")
        track.bit_rate = 160_000
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(np.round(samples * 32768).astype(np.int16).reshape(1, -1)), "s16", "stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        fifo = av.AudioFifo()
        fifo.write(frame)
        size = track.codec_context.frame_size or 1024
        for piece in (*fifo.read_many(size), fifo.read(0, partial=True)):
            if piece is not None:
                container.mux(track.encode(piece))
        container.mux(track.encode(None))
        if pictures:
            for number in range(pictures):
                image = av.VideoFrame(64, 64, "yuv420p")
                image.pts = number
                container.mux(picture.encode(image))
            container.mux(picture.encode(None))
    return path


def read(path: Path) -> np.ndarray:
    with AudioReader(path) as reader:
        mono = np.concatenate(list(reader.blocks()))
        assert reader.problem is None
        assert reader.sample_rate == 48000
    return mono


@pytest.mark.parametrize(("name", "codec"), LOSSLESS)
def test_lossless_files_give_their_samples(tmp_path: Path, name: str, codec: str) -> None:
    samples = sound()
    mono = read(write(tmp_path / name, samples, codec))
    np.testing.assert_allclose(mono, samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(("name", "codec"), LOSSY)
def test_lossy_files_give_nearly_the_sound(tmp_path: Path, name: str, codec: str) -> None:
    samples = sound().mean(axis=1)
    mono = read(write(tmp_path / name, sound(), codec))
    assert len(mono) == pytest.approx(len(samples), abs=0.15 * 48000)
    most, part = 6000, samples[30000:90000]
    delay = int(np.argmax(scipy.signal.correlate(mono[30000 - most : 90000 + most], part, "valid"))) - most
    assert abs(delay) < 0.06 * 48000
    error = mono[30000 + delay : 90000 + delay] - part
    assert 10 * np.log10(np.square(part).sum() / np.square(error).sum()) > 12


@pytest.mark.parametrize(("name", "codec"), [("film.mp4", "aac"), ("film.mkv", "flac")])
@pytest.mark.parametrize("pictures", [10, 150])  # for less time than there is sound, and for more
def test_the_sound_of_a_film_is_separated(
    tmp_path: Path, gain_toy: Path, name: str, codec: str, pictures: int
) -> None:
    film = write(tmp_path / name, sound(), codec, pictures)
    result = invoke("separate", film, "-o", tmp_path / "out", "--bundle", gain_toy)
    assert result.exit_code == 0, result.output
    one, rate = soundfile.read(tmp_path / "out" / f"{film.stem}_spk1.wav")
    assert (rate, len(one)) == (48000, pytest.approx(3 * 48000, abs=4096))


def test_a_folder_is_searched_for_them(tmp_path: Path, gain_toy: Path) -> None:
    (tmp_path / "rec").mkdir()
    write(tmp_path / "rec" / "a.m4a", sound(), "alac")
    shutil.copy(FOLDER / "two_voices.wav", tmp_path / "rec" / "b.wav")
    result = invoke("separate", tmp_path / "rec", "-o", tmp_path / "out", "--bundle", gain_toy)
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_file_that_is_cut_off_says_so(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mka", sound(), "flac")
    cut = tmp_path / "cut.mka"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with AudioReader(cut) as reader:
        mono = np.concatenate(list(reader.blocks()))
    assert 0.5 < len(mono) / 48000 < 2.5
    assert reader.problem is not None and "truncated" in reader.problem
    assert reader.missing_s == pytest.approx(3 - len(mono) / 48000, abs=0.1)


@pytest.mark.parametrize(("name", "codec"), LOSSLESS)
def test_a_title_that_is_no_text_keeps_no_sound(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, sound(), codec, title="Gespr?ch mit Herrn M?ller")
    content = path.read_bytes()
    assert b"Gespr?ch mit Herrn M?ller" in content
    path.write_bytes(
        content.replace(b"Gespr?ch mit Herrn M?ller", "Gespräch mit Herrn Müller".encode("latin-1"))
    )
    assert len(read(path)) == 3 * 48000


def test_of_a_damaged_file_only_that_is_silent(tmp_path: Path, gain_toy: Path) -> None:
    whole = write(tmp_path / "whole.m4a", sound(), "alac")
    with av.open(str(whole)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    content = bytearray(whole.read_bytes())
    position, size = packets[len(packets) // 2]
    content[position : position + size] = bytes(size)
    damaged = tmp_path / "damaged.m4a"
    damaged.write_bytes(content)
    with AudioReader(damaged) as reader:
        mono = np.concatenate(list(reader.blocks()))
        problem = reader.problem
    np.testing.assert_allclose(mono[:48000], sound()[:48000].mean(axis=1), atol=1e-7)
    assert len(mono) == 3 * 48000
    np.testing.assert_allclose(mono[-48000:], sound()[-48000:].mean(axis=1), atol=1e-7)
    assert problem == f"{damaged}: damaged: 0.1 s cannot be decoded and are silent"
    with pytest.warns(SeparationWarning, match="are silent"):
        result = invoke("separate", damaged, "-o", tmp_path / "out", "--bundle", gain_toy)
    assert result.exit_code == 1


def test_where_nothing_can_be_decoded_there_is_no_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "whole.m4a", sound(), "alac")
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    content = bytearray(path.read_bytes())
    for position, size in packets:
        content[position : position + size] = bytes([0xFF] * size)
    path.write_bytes(content)
    with AudioReader(path) as reader, pytest.raises(AudioError, match="damaged"):
        list(reader.blocks())


def test_what_is_no_sound_is_refused(tmp_path: Path) -> None:
    for name in ("zeros.m4a", "zeros.xyz"):
        (tmp_path / name).write_bytes(b"\0" * 1000)
        with pytest.raises(AudioError, match="not readable as audio"):
            AudioReader(tmp_path / name)
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        picture = container.add_stream("mpeg4", rate=25)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        for image in (av.VideoFrame(64, 64, "yuv420p"), None):
            container.mux(picture.encode(image))
    with pytest.raises(AudioError, match="no sound track"):
        AudioReader(tmp_path / "silent.mp4")


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", sound(), 48000)
    for name, text in (
        ("list.m4a", "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nsecret.wav\n#EXT-X-ENDLIST\n"),
        ("list.mp4", f"ffconcat version 1.0\nfile {tmp_path}/secret.wav\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="not readable as audio"):
            AudioReader(tmp_path / name)


def test_without_pyav_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "voice.m4a", sound(), "aac")
    monkeypatch.setattr(media, "is_installed", lambda: False)
    with pytest.raises(AudioError, match=r"voice\.m4a.*pip install 'tisdiss-rt\[media\]'"):
        AudioReader(path)
    (tmp_path / "x.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError) as caught:
        AudioReader(tmp_path / "x.wav")
    assert "pip" not in str(caught.value)


def test_nothing_is_warned(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(write(tmp_path / "voice.m4a", sound(), "aac"))
