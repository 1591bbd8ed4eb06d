"""Recordings: valid files at every moment, also when the disk takes no more."""

import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from tisdiss_rt.errors import OptionError, OutputError
from tisdiss_rt.live import recorder as recording
from tisdiss_rt.live.recorder import Recorder

RATE = 16000


@pytest.fixture
def paths(tmp_path):
    return recording.targets(tmp_path / "rec", 2, force=False)


def read(paths):
    return np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])


def test_everything_is_there_at_the_end(paths, noise):
    recorder, sound = Recorder(paths, RATE), noise(3, 3 * RATE + 5) * 4  # beyond full scale, too
    for piece in np.array_split(sound, 300, axis=1):
        recorder.put(piece)
    recorder.close()
    np.testing.assert_array_equal(read(paths), sound)
    info = soundfile.info(paths[0])
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 1, "FLOAT")
    assert recorder.problem is None


def test_files_are_valid_while_they_grow(paths, noise):
    recorder, sound = Recorder(paths, RATE), noise(3, 4 * RATE)
    assert [soundfile.info(path).frames for path in paths] == [0, 0, 0]
    for piece in np.array_split(sound, 8, axis=1):
        written = recorder.samples
        recorder.put(piece)
        while recorder.samples == written:
            time.sleep(0.001)
        np.testing.assert_array_equal(read(paths), sound[:, : recorder.samples])
    recorder.close()


def test_a_full_disk_keeps_what_is_there(tmp_path):
    """A limit on the size of files makes the system refuse to write, in the middle of a piece."""
    code = """
import resource, sys
import numpy as np
from pathlib import Path
from tisdiss_rt.live.recorder import Recorder, targets
resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, 100_001))
recorder = Recorder(targets(Path(sys.argv[1]), 2, False), 16000)
sound = np.arange(3 * 48000, dtype=np.float32).reshape(3, 48000)
for piece in np.array_split(sound, 30, axis=1):
    recorder.put(piece)
recorder.close()
print(recorder.problem)
"""
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "rec"], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("recording ended, 1.5 s are kept in ")
    assert "make room" in done.stdout
    kept = read(recording.targets(tmp_path / "rec", 2, force=True))
    assert kept.shape == (3, 24000)
    np.testing.assert_array_equal(kept, np.arange(3 * 48000).reshape(3, 48000)[:, :24000])


def test_existing_files_are_kept_without_force(paths):
    paths[1].parent.mkdir()
    paths[1].write_text("mine")
    with pytest.raises(OptionError, match=r"spk1.wav exists; --force overwrites"):
        recording.targets(paths[0].parent, 2, force=False)
    assert recording.targets(paths[0].parent, 2, force=True) == paths
    paths[1].rename(paths[1].with_stem("mixture_2"))  # a recording of many hours would go on there
    with pytest.raises(OptionError, match=r"mixture_2.wav exists; --force overwrites"):
        recording.targets(paths[0].parent, 2, force=False)


def test_nothing_recorded_leaves_no_files(paths):
    Recorder(paths, RATE).close()
    assert not any(path.exists() for path in paths)


def test_what_was_recorded_before_stays_until_there_is_sound(paths, noise):
    first = Recorder(paths, RATE)
    first.put(sound := noise(3, 5 * RATE))
    first.close()
    nothing = Recorder(paths, RATE)  # the devices could not be opened
    nothing.put(noise(3, 0))
    nothing.close()
    assert nothing.paths == []
    np.testing.assert_array_equal(read(paths), sound)
    again = Recorder(paths, RATE)
    again.put(shorter := noise(3, RATE))
    again.close()
    np.testing.assert_array_equal(read(paths), shorter)


def test_where_one_file_cannot_be_made_none_is_left(paths):
    paths[1].mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot record in"):
        Recorder(paths, RATE)
    assert not paths[0].exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot record in"):
        Recorder(recording.targets(tmp_path / "file" / "rec", 2, False), RATE)


def test_a_disk_that_is_too_slow(paths, noise, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_WAITING_S", -1.0)
    recorder = Recorder(paths, RATE)
    for _ in range(10):
        recorder.put(noise(3, 4000))
    recorder.close()
    assert "disk is too slow" in str(recorder.problem)
    assert all(soundfile.info(path).frames == recorder.samples for path in paths if path.exists())


def test_sound_that_comes_faster_than_the_disk_takes_it_waits(paths, noise, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_WAITING_S", 1.0)
    write = recording.write
    monkeypatch.setattr(recording, "write", lambda *data: (time.sleep(0.005), write(*data)))
    recorder, sound = Recorder(paths, RATE), noise(3, 12 * RATE)
    for piece in np.array_split(sound, 48, axis=1):
        recorder.put(piece)
        recorder.keep_up()
    recorder.close()
    assert recorder.problem is None
    np.testing.assert_array_equal(read(paths), sound)


def test_silence_of_any_length(paths, noise, monkeypatch):
    """It takes no memory, goes on in further files, and does not count as a disk that is behind."""
    monkeypatch.setattr(recording, "_MOST_BYTES", 4 * 50 * RATE)
    recorder, sound, long = Recorder(paths, RATE), noise(3, 2 * RATE), 120 * RATE
    recorder.put(sound[:, :100])
    recorder.put_silence(long)
    recorder.put(sound[:, 100:])
    recorder.close()
    assert recorder.problem is None
    parts = [read(recorder.paths[first : first + 3]) for first in range(0, len(recorder.paths), 3)]
    expected = np.insert(sound, [100] * long, 0.0, axis=1)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), expected)


def test_whatever_ends_the_writing_is_told(paths, noise, monkeypatch):
    recorder, sound = Recorder(paths, RATE), noise(3, RATE)
    recorder.put(sound)
    while recorder.samples < RATE:
        time.sleep(0.001)

    def fail(*data):
        raise MemoryError

    monkeypatch.setattr(recorder, "_grow", fail)
    recorder.put(sound)
    recorder.close()
    assert "recording ended, 1.0 s are kept" in str(recorder.problem)
    assert "MemoryError" in str(recorder.problem)
    np.testing.assert_array_equal(read(paths), sound)


def test_a_shorter_recording_leaves_no_parts_of_a_longer_one(paths, noise):
    folder = paths[0].parent
    folder.mkdir()
    for name in ("mixture.wav", "mixture_2.wav", "spk2_3.wav", "mixture_20261130.wav"):
        soundfile.write(folder / name, noise(RATE), RATE)
    recorder = Recorder(paths, RATE)
    assert (folder / "mixture_2.wav").exists()  # there is no sound as yet
    recorder.put(noise(3, RATE))
    recorder.close()
    names = ["mixture.wav", "mixture_20261130.wav", "spk1.wav", "spk2.wav"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_a_full_file_goes_on_in_the_next(paths, noise, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_BYTES", 60000)
    old = paths[0].with_stem("mixture_2")
    old.parent.mkdir()
    soundfile.write(old, noise(9 * RATE), RATE)  # of a longer recording before
    recorder, sound = Recorder(paths, RATE), noise(3, 40000)
    for piece in np.array_split(sound, 20, axis=1):
        recorder.put(piece)
    recorder.close()
    assert recorder.problem is None
    assert recorder.samples == 40000
    names = ["mixture.wav", "mixture_2.wav", "mixture_3.wav", "mixture_4.wav"]
    assert [path.name for path in recorder.paths[::3]] == names
    parts = [read(recorder.paths[k : k + 3]) for k in (0, 3, 6, 9)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), sound)
    assert all(path.stat().st_size <= 60000 for path in recorder.paths)


def test_where_the_next_file_cannot_be_made_it_ends(paths, noise, monkeypatch):
    monkeypatch.setattr(recording, "_MOST_BYTES", 60000)
    (paths[1].parent / f"{paths[1].stem}_2.wav").mkdir(parents=True)
    recorder, sound = Recorder(paths, RATE), noise(3, 40000)
    for piece in np.array_split(sound, 20, axis=1):
        recorder.put(piece)
    recorder.close()
    assert "s are kept in" in str(recorder.problem)
    np.testing.assert_array_equal(read(paths), sound[:, : recorder.samples])


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_a_second_recording_in_the_same_files_is_refused(paths, noise):
    recorder = Recorder(paths, RATE)
    recorder.put(sound := noise(3, RATE))
    with pytest.raises(OutputError, match="another run is recording there"):
        Recorder(paths, RATE)
    recorder.close()
    np.testing.assert_array_equal(read(paths), sound)
    again = Recorder(paths, RATE)
    again.put(sound[:, :100])
    again.close()
    assert read(paths).shape == (3, 100)
