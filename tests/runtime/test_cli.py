import importlib.metadata
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

import tisdiss_rt
from tisdiss_rt import bundle as bundles
from tisdiss_rt.audio import files, lengths, media
from tisdiss_rt.cli import main
from tisdiss_rt.engine import onnx_runtime

RATE = 16000


@pytest.fixture
def separate(command, gain_toy):
    return lambda *arguments: command("separate", "--bundle", gain_toy, "--provider", "cpu", *arguments)


def write(path, data, rate=RATE, **options):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, data, rate, **options)
    return data


def names(folder="separated"):
    return sorted(path.name for path in Path(folder).iterdir()) if Path(folder).exists() else []


def refused(result, message):
    """One line on standard error, status 1, nothing written."""
    status, out, err = result
    assert status == 1
    assert out == ""
    (line,) = (line for line in err.splitlines() if not line.startswith("toy on "))
    assert line.startswith("tisdiss-rt: ")
    assert message in line
    assert not Path("separated").exists()


# ---- what is written ----


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype", "written"),
    [
        ("a.wav", 16000, 1, "PCM_16", "PCM_16"),
        ("a.wav", 192000, 8, "PCM_24", "PCM_24"),
        ("a.wav", 8000, 2, "FLOAT", "FLOAT"),
        ("a.flac", 44100, 2, "PCM_24", "PCM_24"),
        ("a.ogg", 48000, 1, "VORBIS", "PCM_16"),
        ("a.mp3", 44100, 2, "MPEG_LAYER_III", "PCM_16"),
        ("Gespräch im Büro, ein Ton.wav", 11025, 1, "PCM_16", "PCM_16"),
        ("[bold]x[/] 100%.v2.wav", 16000, 1, "PCM_16", "PCM_16"),
    ],
)
def test_odd_but_legal_files(separate, noise, name, rate, channels, subtype, written):
    write(name, noise(rate // 2 + 1, channels), rate, subtype=subtype)
    status, out, _ = separate(name)
    stem = Path(name).stem
    expected = [f"{stem}_spk1.wav", f"{stem}_spk2.wav"]
    assert status == 0
    assert names() == expected
    assert out.splitlines() == [str(Path("separated") / file) for file in expected]
    for file in expected:
        info = soundfile.info(Path("separated") / file)
        assert (info.format, info.subtype, info.channels) == ("WAV", written, 1)
        assert (info.samplerate, info.frames) == (rate, rate // 2 + 1)


def test_a_name_that_is_no_text(tmp_path, gain_toy, noise):
    write(tmp_path / "a.wav", noise(100))
    (tmp_path / "a.wav").rename(tmp_path / os.fsdecode(b"\xff.wav"))
    program = Path(sys.executable).with_name("tisdiss-rt")
    arguments = [program, "separate", b"\xff.wav", "--bundle", gain_toy]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    result = subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert result.stdout.splitlines() == [b"separated/\xff_spk1.wav", b"separated/\xff_spk2.wav"]
    assert all((tmp_path / os.fsdecode(path)).exists() for path in result.stdout.splitlines())


def test_samples(separate, noise):
    mix = write("a.wav", noise(RATE + 3), subtype="FLOAT")
    assert separate("a.wav", "--depth", 1, "-o", "here")[0] == 0
    for number, share in ((1, 0.7), (2, 0.3)):
        result = soundfile.read(f"here/a_spk{number}.wav")[0]
        np.testing.assert_allclose(result, 0.75 * share * mix, atol=1e-6)


def test_one_sample_and_silence(separate):
    write("one.wav", np.array([0.5]))
    write("quiet.wav", np.zeros(RATE))
    assert separate("one.wav", "quiet.wav")[0] == 0
    np.testing.assert_allclose(soundfile.read("separated/one_spk1.wav")[0], [0.5 * 0.7 * 31 / 32], atol=1e-4)
    assert not soundfile.read("separated/quiet_spk1.wav")[0].any()


def test_standard_input_of_a_process(tmp_path, gain_toy, noise):
    content = io.BytesIO()
    soundfile.write(content, noise(5000, 2), 44100, format="FLAC")
    program = Path(sys.executable).with_name("tisdiss-rt")
    arguments = [program, "separate", "-", "--bundle", gain_toy, "--json"]
    result = subprocess.run(
        arguments, input=content.getvalue(), cwd=tmp_path, capture_output=True, check=True
    )
    assert json.loads(result.stdout)["files"][0]["input"] == "-"
    assert names(tmp_path / "separated") == ["stdin_spk1.wav", "stdin_spk2.wav"]
    assert soundfile.info(tmp_path / "separated" / "stdin_spk1.wav").frames == 5000
    assert b"%" not in result.stderr  # no progress bar in a pipe


def test_folders_are_searched_but_not_for_results(separate, noise):
    for name in ("in/b.wav", "in/A.WAV", "in/deep/c.flac"):
        write(name, noise(100))
    Path("in/notes.txt").write_text("no audio")
    Path("in/._b.wav").write_text("what some systems leave beside a file")
    write("in/.Trash-1000/files/deleted.wav", noise(100))
    expected = [f"{stem}_spk{n}.wav" for stem in ("A", "b", "deep/c") for n in (1, 2)]

    def results(folder):
        return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*_spk*.wav"))

    for _ in range(2):
        assert separate("in", "-o", "in", "--force")[0] == 0
        assert results("in") == expected
    for name in expected:
        Path("in", name).unlink()
    assert separate("in", "-o", "in/out")[0] == 0
    assert results("in/out") == expected
    status, _, err = separate("in", "-o", "in/out", "--force")
    assert status == 0
    assert results("in") == [f"out/{name}" for name in expected]
    assert "skipped" not in err


def test_folders_below_are_kept(separate, noise):
    write("rec/day1/audio.wav", noise(100))
    write("rec/day2/audio.wav", noise(200))
    write("rec/day2/late/audio.wav", noise(300))
    for _ in range(2):
        status, _, err = separate("rec/")
        assert status == 0
    assert err.count("skipped") == 3
    for folder, frames in (("day1", 100), ("day2", 200), ("day2/late", 300)):
        assert soundfile.info(f"separated/{folder}/audio_spk2.wav").frames == frames
    assert names() == ["day1", "day2"]
    write("rec/talk_spk1.wav", noise(400))  # a recording, though named as a result: nothing of ours is in rec
    assert separate("rec")[0] == 0
    assert soundfile.info("separated/talk_spk1_spk1.wav").frames == 400


def test_a_folder_says_how_many_files_it_passed_over(separate, noise, monkeypatch):
    monkeypatch.setattr(media, "is_installed", lambda: False)
    write("rec/audio.wav", noise(100))
    for name in ("call.m4a", "meeting.MP4", "voice.webm", "phone.amr", "old.wma", "deep/a.aac", "notes.txt"):
        Path("rec", name).parent.mkdir(exist_ok=True)
        Path("rec", name).write_bytes(bytes(100))
    status, _, err = separate("rec", "--quiet")
    assert status == 0
    (line,) = err.splitlines()
    assert "rec: passed over 6 files" in line
    assert "pip install 'tisdiss-rt[media]': .aac, .amr, .m4a, .mp4, .webm, .wma" in line


def test_an_empty_folder_is_an_error(separate):
    Path("nothing").mkdir()
    refused(separate("nothing"), "nothing: no audio files in this folder")


def test_recordings_that_are_named_as_results(separate, noise):
    mine = write("rec/interview_spk1.wav", noise(400))
    write("rec/talk.wav", noise(300))
    for _ in range(2):
        assert separate("rec", "-o", "rec", "--force")[0] == 0
        voices = [f"{name}_spk{n}" for name in ("interview_spk1", "talk") for n in (1, 2)]
        expected = [f"{name}.wav" for name in sorted([*voices, "interview_spk1", "talk"])]
        assert sorted(path.name for path in Path("rec").iterdir()) == expected
    np.testing.assert_allclose(soundfile.read("rec/interview_spk1.wav")[0], mine, atol=1e-4)


def test_folders_and_files_that_nobody_may_read_are_told(separate, noise, monkeypatch):
    write("rec/talk.wav", noise(300))
    write("rec/locked/talk.wav", noise(300))
    write("rec/secret.wav", noise(300))
    scandir, stat = os.scandir, Path.stat

    def scan(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    def look(path, **options):
        if path.name == "secret.wav":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "scandir", scan)
    monkeypatch.setattr(Path, "stat", look)
    status, _, err = separate("rec", "--quiet")
    assert status == 1
    assert err.splitlines() == [
        "tisdiss-rt: rec/locked: Permission denied",
        "tisdiss-rt: rec/secret.wav: Permission denied",
    ]
    assert names() == ["talk_spk1.wav", "talk_spk2.wav"]


def test_links_in_a_folder_are_followed_once(separate, noise):
    write("rec/a/talk.wav", noise(300))
    write("elsewhere/more/talk.wav", noise(200))
    Path("rec/1st").symlink_to("a")  # the same folder again, by a name that sorts before
    Path("rec/a/up").symlink_to("..")
    Path("rec/far").symlink_to("../elsewhere")
    Path("rec/gone.wav").symlink_to("nowhere.wav")
    Path("rec/loop.wav").symlink_to("loop.wav")
    Path("rec/nowhere").symlink_to("gone")
    write("rec/deep/er/talk.wav", noise(100))
    Path("rec/b").symlink_to("deep/er")
    Path("rec/results").symlink_to("../separated")
    status, _, err = separate("rec", "--quiet")
    assert status == 1
    problems = err.splitlines()
    assert len(problems) == 2
    assert "rec/gone.wav: no such file" in problems[0]
    assert "rec/loop.wav: " in problems[1]
    found = [path.as_posix() for path in sorted(Path("separated").rglob("*_spk1.wav"))]
    expected = ["a/talk_spk1.wav", "deep/er/talk_spk1.wav", "far/more/talk_spk1.wav"]
    assert found == [f"separated/{name}" for name in expected]
    assert separate("rec", "--quiet")[0] == 1
    assert len(list(Path("separated").rglob("*.wav"))) == 6


def test_names_that_no_file_can_have_do_not_end_the_others(separate, noise):
    write("talk.wav", noise(300))
    Path("loop.wav").symlink_to("loop.wav")
    long = 300 * "a" + ".wav"
    status, _, err = separate(long, "loop.wav", "talk.wav", "--quiet")
    assert status == 1
    assert len(err.splitlines()) == 2
    assert f"tisdiss-rt: {long}: File name too long" in err
    assert "tisdiss-rt: loop.wav: " in err
    assert names() == ["talk_spk1.wav", "talk_spk2.wav"]


def test_existing_files_are_skipped(separate, noise):
    write("a.wav", noise(100))
    assert separate("a.wav")[0] == 0
    before = Path("separated/a_spk1.wav").stat()
    status, out, err = separate("a.wav", "--quiet")
    assert (status, out) == (0, "")
    assert "a.wav: skipped, separated/a_spk1.wav exists" in err
    after = Path("separated/a_spk1.wav").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    Path("separated/a_spk2.wav").write_text("mine")
    status, _, err = separate("a.wav")
    assert status == 1
    assert "a.wav: separated/a_spk2.wav exists and does not say what it is of" in err
    assert Path("separated/a_spk2.wav").read_text() == "mine"
    assert separate("a.wav", "--force")[0] == 0
    assert soundfile.info("separated/a_spk1.wav").frames == 100


@pytest.mark.parametrize("theirs", [["talk_spk1.wav"], ["talk_spk1.wav", "talk_spk2.wav"], ["talk.rttm"]])
def test_what_does_not_say_what_it_is_of_is_no_result(separate, noise, theirs):
    write("talk.wav", noise(100))
    for name in theirs:  # as of microphones of their own
        soundfile.write(name, noise(50), RATE, format="WAV")
    before = {name: Path(name).read_bytes() for name in theirs}
    status, _, err = separate("talk.wav", "-o", ".", *(("--talkers", 2) if "talk.rttm" in theirs else ()))
    assert status == 1
    problem = f"talk.wav: {theirs[0]} exists and does not say what it is of; choose another folder with -o"
    assert problem in err
    assert {name: Path(name).read_bytes() for name in theirs} == before
    assert names(".") == sorted(["talk.wav", *theirs])


def test_two_inputs_of_one_name(separate, noise):
    write("x/a.wav", noise(100))
    write("y/a.wav", noise(200))
    status, _, err = separate("x/a.wav", "y/a.wav", "--force")
    assert status == 1
    assert "y/a.wav: would write the same files as x/a.wav" in err
    assert soundfile.info("separated/a_spk1.wav").frames == 100
    status, _, err = separate("x/a.wav", "y/a.wav")  # what is there are not the voices of y/a.wav
    assert status == 1
    assert "y/a.wav: would write the same files as x/a.wav" in err
    Path("x/a.wav").write_text("no audio, writes nothing")
    assert separate("x/a.wav", "y/a.wav", "--force")[0] == 1
    assert soundfile.info("separated/a_spk1.wav").frames == 200


def test_two_inputs_of_one_name_in_two_calls(separate, noise, monkeypatch):
    write("x/a.wav", noise(100))
    write("y/a.wav", noise(200))
    assert separate("x/a.wav")[0] == 0
    status, _, err = separate("y/a.wav")
    assert status == 1
    assert "y/a.wav: separated/a_spk1.wav exists and is not known to be of this input" in err
    status, _, err = separate("x/a.wav")
    assert status == 0
    assert "x/a.wav: skipped" in err
    shutil.move("x", "z")  # it is still the same recording
    assert separate("z/a.wav")[0] == 0
    assert separate("y/a.wav", "--force")[0] == 0
    assert separate("y/a.wav")[0] == 0
    for status, data in ((0, noise(100)), (1, noise(200))):  # nobody can tell whether it is the same
        content = io.BytesIO()
        soundfile.write(content, data, RATE, format="WAV")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.getvalue())))
        assert separate("-")[0] == status
    assert soundfile.info("separated/stdin_spk1.wav").frames == 100


def test_the_same_input_twice_is_done_once(separate, noise):
    write("x/a.wav", noise(100))
    status, out, err = separate("x/a.wav", "x", "x/../x/a.wav")
    assert status == 0
    assert len(out.splitlines()) == 2
    assert "skipped" not in err


def test_a_bad_file_does_not_stop_the_others(separate, noise):
    write("a.wav", noise(100))
    Path("b.wav").write_text("text")
    write("c.wav", noise(100))
    status, out, err = separate("a.wav", "b.wav", "c.wav", "gone.wav")
    assert status == 1
    assert names() == ["a_spk1.wav", "a_spk2.wav", "c_spk1.wav", "c_spk2.wav"]
    assert len(out.splitlines()) == 4
    assert "tisdiss-rt: b.wav: not readable as audio" in err
    assert "tisdiss-rt: gone.wav: no such file" in err
    long = 250 * "x" + ".wav"
    status, out, err = separate(long, "c.wav", "--force", "--json")
    assert status == 1
    assert ["error" in entry for entry in json.loads(out)["files"]] == [True, False]
    assert f"tisdiss-rt: {long}: " in err


def test_an_error_that_nobody_expects_ends_no_others(separate, noise, monkeypatch):
    write("a.wav", noise(100))
    write("b.wav", noise(100))
    whole = lengths.measure

    def fails_at_first(file):
        monkeypatch.setattr(files, "measure", whole)
        raise struct.error("unpack requires 192 bytes")

    monkeypatch.setattr(files, "measure", fails_at_first)
    status, _, err = separate("a.wav", "b.wav")
    assert status == 1
    assert "tisdiss-rt: a.wav: error: unpack requires 192 bytes" in err
    assert names() == ["b_spk1.wav", "b_spk2.wav"]


def test_an_input_without_a_name(separate, noise):
    write("a.wav", noise(100))
    refused(separate(""), "an INPUT is empty")
    assert not Path("separated").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_report_of_a_pipe_and_one_that_cannot_be_written(separate, noise):
    write("a.wav", noise(100))
    refused(separate("a.wav", "--report", "a.wav/r.html"), "a.wav: ")
    os.mkfifo("pipe")
    feeding = threading.Thread(target=lambda: Path("pipe").write_bytes(Path("a.wav").read_bytes()))
    feeding.start()
    status, out, _ = separate("pipe", "--json", "--report", "r.html")
    feeding.join()
    assert status == 0
    assert len(json.loads(out)["files"]) == 1
    assert Path("r.html").read_text().count("<img") == 2  # of the voices


def test_what_is_there_of_a_truncated_file_is_separated(separate, noise):
    write("good.wav", noise(RATE))
    Path("short.wav").write_bytes(Path("good.wav").read_bytes()[: 44 + RATE])
    status, out, err = separate("short.wav", "good.wav", "--json")
    short, good = json.loads(out)["files"]
    assert status == 1
    assert (short["duration_s"], short["missing_s"]) == (0.5, 0.5)
    assert "short.wav: truncated: 0.5 s of 1.0 s are missing" in short["error"]
    assert f"tisdiss-rt: warning: {short['error']}; what is there is separated" in err.splitlines()
    assert "error" not in good
    assert soundfile.info(short["outputs"][0]).frames == RATE // 2
    assert soundfile.info(good["outputs"][0]).frames == RATE
    status, out, err = separate("short.wav", "good.wav", "--json")  # a later run is as honest
    short, good = json.loads(out)["files"]
    assert status == 1
    assert (short["skipped"], "error" in good) == (True, False)
    assert "short.wav: truncated: 0.5 s of 1.0 s are missing" in short["error"]
    assert "short.wav: skipped, separated/short_spk1.wav exists (--force overwrites)" in err
    assert "it is of a file that is truncated: 0.5 s of 1.0 s are missing" in err


def test_a_result_without_the_others_is_told(separate, noise):
    write("a.wav", noise(RATE))
    assert separate("a.wav")[0] == 0
    Path("separated/a_spk2.wav").unlink()
    status, _, err = separate("a.wav")
    assert status == 1
    assert "a.wav: separated/a_spk1.wav exists, but not separated/a_spk2.wav; --force" in err
    assert separate("a.wav", "--force")[0] == 0
    assert names() == ["a_spk1.wav", "a_spk2.wav"]


def test_a_file_of_unknown_length_has_a_result_as_long(separate, noise, monkeypatch):
    write("a.flac", noise(RATE + 7), 44100)
    content = bytearray(Path("a.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    Path("a.flac").write_bytes(content)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert separate("a.flac")[0] == 0
    info = soundfile.info("separated/a_spk1.wav")
    assert (info.frames, info.format) == (RATE + 7, "WAV")


def test_names_as_long_as_the_system_allows(separate, noise):
    stem = 246 * "x"
    write(f"{stem}.wav", noise(100))
    assert separate(f"{stem}.wav")[0] == 0
    assert names() == [f"{stem}_spk1.wav", f"{stem}_spk2.wav"]


def test_a_folder_in_the_way(separate, noise):
    write("a.wav", noise(100))
    Path("separated/a_spk2.wav").mkdir(parents=True)
    status, _, err = separate("a.wav", "--force")
    assert status == 1
    assert "a.wav: cannot write to separated: a_spk2.wav is a folder" in err
    assert names() == ["a_spk2.wav"]


# ---- what is said ----


def test_json(separate, noise):
    write("a.wav", noise(RATE, 2))
    write("b.wav", noise(RATE))
    Path("bad.wav").write_text("text")
    separate("b.wav")
    status, out, err = separate("a.wav", "b.wav", "bad.wav", "--json", "--depth", 3)
    document = json.loads(out)
    assert status == 1
    assert (document["bundle"], document["provider"], document["precision"]) == ("toy", "cpu", "fp32")
    assert document["plan"]["depth"] == 3
    done, skipped, bad = document["files"]
    assert done["outputs"] == ["separated/a_spk1.wav", "separated/a_spk2.wav"]
    assert (done["sample_rate"], done["duration_s"], done["missed"], done["clipped"]) == (RATE, 1.0, 0, 0)
    assert len(done["steps"]) == 9
    assert done["steps"][0].keys() == {"start_s", "window_s", "depth", "elapsed_ms", "missed"}
    assert {step["depth"] for step in done["steps"]} == {3}
    assert skipped == {"input": "b.wav", "skipped": True}
    assert "not readable" in bad["error"]
    assert "toy on cpu" in err


@pytest.mark.parametrize(("rate", "is_told"), [(RATE // 2, False), (RATE, False), (44100, True)])
def test_where_the_network_ends_is_told(separate, noise, rate, is_told):
    write("a.wav", noise(1000), rate)
    assert (
        "above 8 kHz, where the network ends, each voice has its share" in separate("a.wav")[2]
    ) == is_told


def test_a_budget_chooses_and_is_reported(separate, noise):
    write("a.wav", noise(RATE))
    _, out, err = separate("a.wav", "--budget-ms", 60_000, "--json")
    document = json.loads(out)
    assert document["plan"]["window_s"] == 0.2
    assert {step["depth"] for step in document["files"][0]["steps"]} == {4}
    assert document["files"][0]["missed"] == 0
    assert "windows of 0.2 s, depth 4" in err
    assert "0 of 9 windows over budget" in err
    assert "warning" not in err


def test_a_budget_that_cannot_be_kept(separate, noise):
    write("a.wav", noise(RATE))
    write("b.wav", noise(RATE))
    status, out, err = separate("a.wav", "b.wav", "--budget-ms", 1e-6, "--min-depth", 2, "--json", "--quiet")
    assert status == 0
    (warning,) = err.splitlines()  # once, though there are two files
    assert warning.startswith("tisdiss-rt: warning: a budget of 1e-06 ms is too small here")
    assert "windows of 0.05 s at depth 2 need about" in warning
    for entry in json.loads(out)["files"]:
        assert entry["missed"] == len(entry["steps"]) == 39
        assert {step["depth"] for step in entry["steps"]} == {2}


def test_promised_quality_is_printed(command, toy_maker, noise):
    windows = (bundles.WindowQuality(0.2, 4, 7.25),)
    quality = bundles.Quality("toy mixtures", "SI-SDR improvement in dB", 1, (), windows)
    write("a.wav", noise(RATE))
    _, _, err = command("separate", "a.wav", "--bundle", toy_maker(quality=quality))
    assert "7.2 dB (SI-SDR improvement on toy mixtures)" in err


def test_quiet(separate, noise):
    write("a.wav", noise(100))
    assert separate("a.wav", "--quiet") == (0, "", "")


def test_progress_on_a_terminal_only(separate, noise, monkeypatch):
    write("a.wav", noise(RATE))
    monkeypatch.setenv("TERM", "xterm")  # a dumb terminal has no bar either

    def has_bar():
        return "a.wav" in separate("a.wav", "--force")[2].split("a.wav: ")[0]

    assert not has_bar()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert has_bar()
    assert separate("a.wav", "--force", "--quiet")[2] == ""


@pytest.mark.skipif(sys.platform == "win32", reason="redirections of a POSIX shell")
@pytest.mark.parametrize(
    ("redirections", "status", "says"),
    [
        ("a.wav 2>&-", 0, "a_spk2.wav"),
        ("a.wav 2>/dev/full", 0, "a_spk2.wav"),
        ("a.wav <&-", 0, "a_spk2.wav"),
        ("a.wav >&-", 0, "1.0 s of audio"),
        ("a.wav >/dev/full", 1, "standard output cannot be written: No space left on device"),
        ("a.wav <&- >&- 2>&-", 0, ""),
        ("gone.wav a.wav 2>&-", 1, "a_spk2.wav"),
        ("- <&-", 1, "tisdiss-rt: standard input: is closed\n"),
        ("- </dev/null", 1, "tisdiss-rt: standard input: not readable as audio"),
    ],
)
def test_standard_streams_that_are_closed_or_full(tmp_path, gain_toy, noise, redirections, status, says):
    if "/dev/full" in redirections and not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    write(tmp_path / "a.wav", noise(RATE))
    program = Path(sys.executable).with_name("tisdiss-rt")
    line = f"'{program}' separate --bundle '{gain_toy}' --provider cpu {redirections}"
    result = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == status
    assert says in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    expected = ["a_spk1.wav", "a_spk2.wav"] if "a.wav" in redirections else []
    assert names(tmp_path / "separated") == expected
    for name in expected:
        assert soundfile.info(tmp_path / "separated" / name).frames == RATE


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_standard_error_that_nobody_reads(tmp_path, gain_toy, noise):
    write(tmp_path / "a.wav", noise(RATE))
    unread, full = os.pipe()
    os.set_blocking(full, False)
    with suppress(BlockingIOError):
        while os.write(full, bytes(4096)):
            pass
    program = Path(sys.executable).with_name("tisdiss-rt")
    command = [program, "separate", "a.wav", "--bundle", gain_toy, "--provider", "cpu"]
    result = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=full)
    os.close(unread)
    os.close(full)
    assert result.returncode == 0
    assert result.stdout.decode().splitlines() == ["separated/a_spk1.wav", "separated/a_spk2.wav"]


QUIETLY = r"""
import os, sys
from tisdiss_rt.cli import standard_streams

standard_streams.mend()
with standard_streams.quiet_libraries():
    os.write(2, b"what a library prints")
    print("ours: \u2501 \udcff", file=sys.stderr)
print("after", file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="consoles are no files there")
def test_libraries_are_kept_off_a_standard_error_that_never_fails():
    program, latin = [sys.executable, "-c", QUIETLY], {**os.environ, "PYTHONIOENCODING": "latin-1"}
    result = subprocess.run(program, env=latin, stderr=subprocess.PIPE)
    assert (result.returncode, result.stderr) == (0, b"ours: \\u2501 \\udcff\nafter\n")
    reading, writing = os.pipe()
    os.close(reading)
    assert subprocess.run(program, stderr=writing).returncode == 0
    os.close(writing)


# ---- what is refused ----


def test_bad_audio(separate, noise):
    Path("text.wav").write_text("text")
    write("none.wav", np.zeros(0))
    write("nan.wav", np.array([0.0] * 100_000 + [np.nan]), subtype="FLOAT")
    write("inf.wav", np.array([[np.inf, -np.inf]]), subtype="FLOAT")
    refused(separate("missing.wav"), "missing.wav: no such file")
    refused(separate("text.wav"), "text.wav: not readable")
    refused(separate("none.wav"), "none.wav: has no samples")
    refused(separate("nan.wav"), "nan.wav: has samples that are NaN")
    refused(separate("inf.wav"), "inf.wav: has samples that are NaN or infinite")


def test_bad_options(separate, noise):
    write("a.wav", noise(100))
    refused(separate("a.wav", "--budget-ms", 20, "--depth", 2), "exclude each other")
    refused(separate("a.wav", "--budget-ms", -5), "above 0 ms, not -5")
    refused(separate("a.wav", "--depth", 99), "from 0 to 12")
    refused(separate("a.wav", "--depth", "many"), "many")
    refused(separate("a.wav", "--threads", 0), "threads")
    refused(separate("a.wav", "--window-s", 0), "window")
    refused(separate("a.wav", "--precision", "int3"), "only fp32")
    refused(separate("a.wav", "--nonsense"), "--nonsense")
    refused(separate(), "INPUT")


def test_cuda_without_cuda(separate, noise, monkeypatch):
    monkeypatch.setattr(onnx_runtime.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    write("a.wav", noise(100))
    refused(separate("a.wav", "--provider", "cuda"), "pip install 'tisdiss-rt[gpu]'")


def test_output_folder_not_writable(separate, noise):
    write("a.wav", noise(100))
    Path("file").touch()
    refused(separate("a.wav", "-o", "file/x"), "cannot write to file/x: ")
    refused(separate("a.wav", "-o", "file"), "cannot write to file: ")
    assert Path("file").read_bytes() == b""
    assert names(".") == ["a.wav", "file"]


def test_bad_bundles(command, gain_toy, noise):
    write("a.wav", noise(100))
    refused(command("separate", "a.wav", "--bundle", "nowhere"), "no bundle 'nowhere'")

    def broken(name, change):
        shutil.copytree(gain_toy, name)
        change(Path(name))
        return command("separate", "a.wav", "--bundle", name)

    def flip(folder):
        content = bytearray((folder / "decoder.onnx").read_bytes())
        content[-1] ^= 1
        (folder / "decoder.onnx").write_bytes(content)

    def newer(folder):
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"format": 2', '"format": 3'))

    refused(broken("changed", flip), "decoder.onnx is damaged")
    refused(broken("newer", newer), "newer tisdiss-rt")
    refused(broken("partial", lambda folder: (folder / "block.onnx").unlink()), "block.onnx is missing")
    refused(broken("bare", lambda folder: (folder / "manifest.json").unlink()), "has no manifest.json")


# ---- the other commands ----


def test_info(command, toy_maker):
    depths = (bundles.DepthQuality(4, 7.0, 6.5, 7.5),)
    quality = bundles.Quality("mixtures", "dB", 9, depths, (bundles.WindowQuality(0.2, 4, 6.25),))
    folder = toy_maker(quality=quality, training=bundles.Training("noise", 77, "CC0"))
    status, out, _ = command("info", folder)
    assert status == 0
    for part in ("offline, 16000 Hz, 2 sources, depth 4 (at most 12)", "stem: fp32", "dB, 9 mixtures"):
        assert part in out
    for part in ("depth 4: 7.00 (6.50 to 7.50)", "0.2 s, depth 4: 6.25", "77 steps on noise (CC0)"):
        assert part in out
    (folder / "conformance.npz").write_bytes(b"changed")
    refused(command("info", folder), "conformance.npz is damaged")


def test_bundles_and_doctor(command, toy_maker, monkeypatch, tmp_path):
    monkeypatch.setattr(bundles, "SHIPPED_FOLDER", tmp_path)
    assert command("bundles") == (0, "", "")
    status, _, err = command("doctor")
    assert (status, err) == (1, "tisdiss-rt: no bundle is installed\n")
    toy_maker("alpha")
    assert command("bundles")[1].startswith("alpha: offline, 16000 Hz")
    status, out, _ = command("doctor")
    assert status == 0
    assert "bundle alpha on " in out
    assert "no problems found" in out


def test_doctor_notices_wrong_results(command, toy_maker, monkeypatch, tmp_path):
    monkeypatch.setattr(bundles, "SHIPPED_FOLDER", tmp_path)
    folder = toy_maker("alpha")
    arrays = dict(np.load(folder / "conformance.npz"))
    arrays["est_2"][0, 50:] += 0.01
    np.savez(folder / "conformance.npz", **arrays)
    text = (folder / "manifest.json").read_text()
    old = json.loads(text)["conformance"]["sha256"]
    (folder / "manifest.json").write_text(text.replace(old, bundles.sha256_of(folder / "conformance.npz")))
    status, out, err = command("doctor")
    assert status == 1
    assert "no problems found" not in out
    assert "bundle alpha does not compute what it did" in err


def test_help_and_version(command):
    assert "separate" in command()[1]
    assert "--budget-ms" in command("separate", "--help")[1]
    assert command("--version")[1].startswith(f"tisdiss-rt, version {tisdiss_rt.__version__}")
    refused(command("seperate"), "seperate")


# ---- commands of other packages ----


@click.command()
@click.argument("word")
@click.option("-n", "--number", type=int)
def shout(word, number):
    """Shout."""
    click.echo(f"{word.upper()} {number}")


@click.command()
@click.pass_context
def status(ctx):
    ctx.exit(3)


@click.command()
def fails():
    import no_such_package  # noqa: F401


@pytest.fixture
def plugins(monkeypatch):
    entries = importlib.metadata.EntryPoints(
        importlib.metadata.EntryPoint(name, value, main.PLUGIN_GROUP)
        for name, value in (
            ("shout", f"{__name__}:shout"),
            ("status", f"{__name__}:status"),
            ("export", "package_without_torch:export"),
            ("train", f"{__name__}:fails"),
        )
    )
    monkeypatch.setattr(main, "entry_points", lambda **select: entries.select(**select))
    monkeypatch.setitem(
        sys.modules, __name__, sys.modules.get(__name__) or sys.modules[shout.callback.__module__]
    )


def test_plugins_run(command, plugins):
    assert command("shout", "hey", "-n", "3") == (0, "HEY 3\n", "")
    assert "Shout." in command("shout", "--help")[1]
    assert "Usage: tisdiss-rt shout" in command("shout", "--help")[1]
    refused(command("shout", "hey", "--number", "x"), "'x' is not a valid integer")


def test_plugins_give_their_exit_status(command, plugins):
    assert command("status") == (3, "", "")


def test_plugins_are_listed_without_being_imported(command, plugins):
    out = command("--help")[1]
    assert "export" in out
    assert "shout" in out


@pytest.mark.parametrize(
    ("name", "package"), [("export", "package_without_torch"), ("train", "no_such_package")]
)
def test_plugins_without_their_packages(command, plugins, name, package):
    install = f"{name} needs {package}, which is not installed: pip install 'tisdiss-rt[{name}]'"
    refused(command(name), install)
