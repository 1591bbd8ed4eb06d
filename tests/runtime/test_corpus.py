"""Manifests: every entry is done once or is said to have failed, however often the run is killed."""

import dataclasses
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import soundfile
from commands import invoke
from example import mixture

from tisdiss_rt.corpus import on_ray
from tisdiss_rt.corpus.entries import BadLine, Entry, Shard, parse
from tisdiss_rt.corpus.ledger import Ledger
from tisdiss_rt.corpus.run import Job, run
from tisdiss_rt.corpus.voices import Outcome, expected_db
from tisdiss_rt.corpus.workers import Task, Workers
from tisdiss_rt.engine import cores
from tisdiss_rt.errors import AudioError, OptionError, OutputError
from tisdiss_rt.estimate.estimator import Estimated
from tisdiss_rt.planning.plan import Step
from tisdiss_rt.separation import Found
from tisdiss_rt.talkers.activity import Activity

RATE = 16000
FIXED = ("--provider", "cpu", "--precision", "fp32", "--threads", "1")


def write_manifest(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def contents(folder):
    """All that a run leaves, but for the log and the order of rows."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}
    told = {name: sorted(data.splitlines()) for name, data in files.items() if name.endswith(".jsonl")}
    return {name: data for name, data in files.items() if not name.startswith("log")} | told


@pytest.fixture
def recordings(tmp_path, noise):
    """Files of all sorts in a folder, some broken, and a manifest of them: (folder, manifest)."""
    folder = tmp_path / "recordings"
    (folder / "deep").mkdir(parents=True)
    sound = noise(48000, 2)
    for name, rate, channels in (
        ("a.wav", 16000, 1),
        ("b.flac", 44100, 2),
        ("c.mp3", 22050, 1),
        ("d.ogg", 48000, 1),
        ("deep/a.wav", 8000, 2),
        ("[1] ü.wav", 16000, 1),
    ):
        soundfile.write(folder / name, sound[: rate // 2 + 17, :channels], rate)
    (folder / "cut.wav").write_bytes((folder / "a.wav").read_bytes()[:9000])
    (folder / "text.wav").write_text("no audio")
    soundfile.write(folder / "none.wav", np.zeros(0), 16000)
    soundfile.write(folder / "nan.wav", np.full(20000, np.nan), 16000, subtype="FLOAT")
    names = ["a.wav", "b.flac", "c.mp3", "d.ogg", "deep/a.wav", "[1] ü.wav", "cut.wav"]
    names += ["text.wav", "none.wav", "nan.wav", "gone.wav", "deep"]
    rows = [{"audio_filepath": name, "duration": 0.5, "lang": "en", "line": "theirs"} for name in names]
    return folder, write_manifest(folder / "in.jsonl", rows)


# ---- what comes out ----


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
def test_voices_are_those_of_one_run_for_each(recordings, gain_toy, tmp_path):
    folder, manifest = recordings
    out = tmp_path / "out"
    result = invoke(
        "separate", "--manifest", manifest, "-o", out, "--workers", 2, "--bundle", gain_toy, *FIXED
    )
    assert result.exit_code == 1
    failed = {row["audio_filepath"]: row for row in rows_of(out / "failed.jsonl")}
    assert failed.keys() == {"cut.wav", "text.wav", "none.wav", "nan.wav", "gone.wav", "deep"}
    assert "truncated: 0.2 s of 0.5 s are missing" in failed["cut.wav"]["reason"]
    assert all(row["lang"] == "en" and row["reason"] for row in failed.values())
    assert all(f"tisdiss-rt: {row['reason']}" in result.stderr.splitlines() for row in failed.values())
    rows = rows_of(out / "manifest.jsonl")
    given = rows_of(manifest)
    for line, entry in enumerate(given, start=1):
        alone = tmp_path / "alone" / str(line)
        name = entry["audio_filepath"]
        if (folder / name).is_dir():  # of which `separate` takes what is in it
            continue
        one = invoke("separate", folder / name, "-o", alone, "--bundle", gain_toy, *FIXED)
        assert one.exit_code == (name in failed)
        own = sorted((row for row in rows if row["line"] == line), key=lambda row: row["talker"])
        expected = sorted(alone.glob("*.wav"))
        assert len(own) == len(expected) == (0 if name in failed and name != "cut.wav" else 2)
        for row, path in zip(own, expected, strict=True):
            assert (out / row["audio_filepath"]).read_bytes() == path.read_bytes()
            assert row["duration"] == pytest.approx(soundfile.info(path).duration, abs=1e-5)
            assert (row["parent"], row["voices"], row["start_s"], row["depth"]) == (name, 2, 0.0, 4.0)
            assert row["lang"] == "en"
            assert ("problem" in row) == (name == "cut.wav")
    assert len(rows) == 14
    assert not list(out.rglob(".*"))
    assert "12 of 12 entries, 6 failed" in (out / "log.txt").read_text()


def test_the_shipped_bundle_gives_the_same_bits(tmp_path):
    for number, seconds in enumerate((0.7, 4.5, 2.0)):
        soundfile.write(tmp_path / f"{number}.wav", mixture()[: round(seconds * RATE)], RATE)
    names = [f"{number}.wav" for number in range(3)]
    manifest = write_manifest(tmp_path / "in.jsonl", [{"audio_filepath": name} for name in names])
    few = ("--depth", 1, *FIXED)
    result = invoke("separate", "--manifest", manifest, "-o", tmp_path / "out", "--workers", 1, *few)
    assert result.exit_code == 0, result.output
    for row in rows_of(tmp_path / "out" / "manifest.jsonl"):
        name = row["parent"]
        if row["talker"] == 1:
            assert invoke("separate", tmp_path / name, "-o", tmp_path / "alone", *few).exit_code == 0
        alone = tmp_path / "alone" / f"{Path(name).stem}_spk{row['talker']}.wav"
        assert (tmp_path / "out" / row["audio_filepath"]).read_bytes() == alone.read_bytes()
        assert 0 <= row["overlap_s"] <= row["speech_s"] <= row["duration"]
        assert row["level_db"] is None or -60 < row["level_db"] < 0


def test_what_comes_out_can_go_in(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    engine = ("--bundle", gain_toy, *FIXED)
    first, second = tmp_path / "first", tmp_path / "second"
    invoke("separate", "--manifest", manifest, "-o", first, *engine)
    result = invoke("separate", "--manifest", first / "manifest.jsonl", "-o", second, *engine)
    assert result.exit_code == 0, result.output
    parents = [row["audio_filepath"] for row in rows_of(first / "manifest.jsonl")]
    rows = rows_of(second / "manifest.jsonl")
    assert sorted(row["parent"] for row in rows) == sorted(2 * parents)
    assert {row["lang"] for row in rows} == {"en"}
    assert not any("problem" in row for row in rows)  # which was of other files
    write_manifest(manifest, [{"audio_filepath": "a.wav", "offset": 0.1, "duration": 0.2}])
    for source, out in (
        (manifest, tmp_path / "part"),
        (tmp_path / "part" / "manifest.jsonl", tmp_path / "last"),
    ):
        again = ("separate", "--manifest", source, "-o", out, *engine, "--resume")
        for _ in range(2):
            assert invoke(*again).exit_code == 0
        assert {row["length_s"] for row in rows_of(out / "manifest.jsonl")} == {
            0.2 if source == manifest else None
        }


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
def test_parts_of_files(noise, gain_toy, tmp_path):
    sound = noise(3 * 44100)
    parts = [(0.0, 1.0), (0.75, 0.5), (2.0, None), (2.0, 1.04)]
    for suffix in ("wav", "mp3"):
        soundfile.write(tmp_path / f"a.{suffix}", sound, 44100)
    rows = [
        {"audio_filepath": f"a.{suffix}", "offset": start_s, "duration": length_s}
        for suffix in ("wav", "mp3")
        for start_s, length_s in parts
    ]
    manifest = write_manifest(tmp_path / "in.jsonl", [*rows, {**rows[0], "offset": 2.0, "duration": 1.5}])
    out, engine = tmp_path / "out", ("--bundle", gain_toy, *FIXED)
    result = invoke("separate", "--manifest", manifest, "-o", out, *engine)
    assert result.exit_code == 1
    (failed,) = rows_of(out / "failed.jsonl")
    assert (failed["line"], failed["voices"]) == (9, 2)
    assert "truncated: 0.5 s of 1.5 s are missing" in failed["reason"]
    for row in rows_of(out / "manifest.jsonl"):
        whole, rate = soundfile.read(tmp_path / row["parent"], dtype="float32")
        begin = round(row["start_s"] * rate)
        soundfile.write(
            tmp_path / "part.wav", whole[begin : begin + round(row["duration"] * rate)], rate, "FLOAT"
        )
        invoke("separate", tmp_path / "part.wav", "-o", tmp_path / "alone", "--force", *engine)
        expected, _ = soundfile.read(tmp_path / "alone" / f"part_spk{row['talker']}.wav")
        np.testing.assert_allclose(soundfile.read(out / row["audio_filepath"])[0], expected, atol=2**-15)
        assert row["duration"] == len(expected) / rate


def test_options_of_separate_hold_for_manifests(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    write_manifest(manifest, [{"audio_filepath": "b.flac"}, {"audio_filepath": "a.wav"}])
    engine = ("--manifest", manifest, "--bundle", gain_toy, *FIXED)
    assert invoke("separate", *engine, "-o", tmp_path / "split", "--channels", "split").exit_code == 0
    rows = rows_of(tmp_path / "split" / "manifest.jsonl")
    places = [(row["parent"], row["channel"], row["talker"], row["voices"]) for row in rows]
    of_b = [("b.flac", channel, talker, 4) for channel in (1, 2) for talker in (1, 2)]
    assert sorted(places) == sorted([*of_b, ("a.wav", 1, 1, 2), ("a.wav", 1, 2, 2)])
    assert invoke("separate", *engine, "-o", tmp_path / "people", "--talkers", 3).exit_code == 0
    assert len(rows_of(tmp_path / "people" / "manifest.jsonl")) == 6
    assert len(list((tmp_path / "people").rglob("*.rttm"))) == 2
    (notes,) = [path.with_name(f"{path.stem}_notes.wav") for path in (tmp_path / "people").rglob("*_a.rttm")]
    notes.touch()
    assert invoke("separate", *engine, "-o", tmp_path / "people", "--force").exit_code == 0
    files = [path.name for path in (tmp_path / "people").rglob("0*_*")]
    assert len(files) == 5  # nothing of the third person
    assert notes.name in files
    assert set(files) > {
        Path(row["audio_filepath"]).name for row in rows_of(tmp_path / "people/manifest.jsonl")
    }


def test_how_good_a_voice_is_expected_to_be():
    good, bad = Estimated(12.0, 10.0, 14.0), Estimated(2.0, 0.0, 4.0)
    windows = [(good, bad), (None, bad), None, (Estimated(10.0, 8.0, 12.0), None)]
    steps = [Step(0.0, 1.0, 4, 1.0, False, voices) for voices in windows]
    found = Found(steps=steps, plan=None, activity=(Activity(), Activity()))
    assert [expected_db(found, number) for number in (0, 1)] == [11.0, 2.0]
    mean_db = round((12 + 10 + 2 + 2) / 4, 2)
    for other in ({"turns": []}, {"activity": 4 * (Activity(),)}):
        assert expected_db(dataclasses.replace(found, **other), 0) == mean_db
    assert expected_db(Found(steps=[], plan=None, activity=(Activity(),)), 0) is None
    silent = dataclasses.replace(found, steps=[Step(0.0, 1.0, 4, 1.0, False, (good, None))])
    assert expected_db(silent, 1) is None


# ---- however it is interrupted ----


def started(manifest, out, toy, *more):
    program = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()"]
    arguments = [
        "separate",
        "--manifest",
        manifest,
        "-o",
        out,
        "--bundle",
        toy,
        *FIXED,
        "--workers",
        "2",
        *more,
    ]
    return subprocess.Popen([*program, *map(str, arguments)], stderr=subprocess.DEVNULL)


def children_of(pid):
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="kills processes as Linux lists them")
def test_killed_at_random_and_resumed(recordings, gain_toy, tmp_path):
    folder, manifest = recordings
    for number in range(40):
        shutil.copy(folder / "a.wav", folder / f"copy{number}.wav")
    with manifest.open("a") as file:
        file.write("no JSON\n")
        file.writelines(json.dumps({"audio_filepath": f"copy{n}.wav"}) + "\n" for n in range(40))
    calm, out = tmp_path / "calm", tmp_path / "out"
    begin_s = time.monotonic()
    assert started(manifest, calm, gain_toy).wait() == 1
    whole_s = time.monotonic() - begin_s
    rng, kills = random.Random(1), 0
    while kills < 6:
        process = started(manifest, out, gain_toy, "--resume")
        try:
            process.wait(rng.uniform(0.3 * whole_s, whole_s))
            shutil.rmtree(out)  # it came to its end: once more
        except subprocess.TimeoutExpired:
            children = children_of(process.pid)
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        until_s = time.monotonic() + 5
        while any(map(is_running, children)) and time.monotonic() < until_s:
            time.sleep(0.01)
        assert not any(map(is_running, children))
    assert started(manifest, out, gain_toy, "--resume").wait() == 1
    assert contents(out) == contents(calm)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}
    assert (
        started(manifest, out, gain_toy, "--resume").wait() == 1
    )  # nothing is left to do, and nothing is done
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")} == before


def entry_of(line, name="a.wav"):
    return parse(line, json.dumps({"audio_filepath": name}), Path("/data"))


def outcome_of(line, voices=2, reason=None):
    rows = [
        {"parent": "a.wav", "line": line, "voices": voices, "start_s": 0.0, "talker": n}
        for n in range(voices)
    ]
    return Outcome(line, tuple(rows), 1.0, reason)


def test_files_that_end_anywhere_are_mended(tmp_path):
    bad = BadLine(4, "x", "line 4 is no JSON")
    todo = [
        (entry_of(1), outcome_of(1)),
        (entry_of(2), outcome_of(2, 3, "cut")),
        (entry_of(3), outcome_of(3, 0, "gone")),
    ]
    todo.append((bad, Outcome(4, reason=bad.reason)))
    todo.append((entry_of(5), outcome_of(5, 1)))
    with Ledger(tmp_path / "whole", Shard(), False, False) as ledger:
        for entry, outcome in todo:
            ledger.add(entry, outcome)
    whole = contents(tmp_path / "whole")
    files = {name: (tmp_path / "whole" / name).read_bytes() for name in ("manifest.jsonl", "failed.jsonl")}
    states = [
        (files["manifest.jsonl"][:end], b"") for end in range(files["manifest.jsonl"].index(b'"line": 2'))
    ]
    first = files["manifest.jsonl"].index(b'{"parent": "a.wav", "line": 2')
    states += [
        (files["manifest.jsonl"][:first], files["failed.jsonl"][:end])
        for end in range(len(files["failed.jsonl"].splitlines()[0]) + 2)
    ]
    failed = files["failed.jsonl"].splitlines(keepends=True)[0]
    states += [(files["manifest.jsonl"][:end], failed) for end in range(first, len(files["manifest.jsonl"]))]
    for number, (manifest, failed) in enumerate(states):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "manifest.jsonl").write_bytes(manifest)
        (folder / "failed.jsonl").write_bytes(failed)
        with Ledger(folder, Shard(), True, False) as ledger:
            for entry, outcome in todo:
                if not ledger.has(entry):
                    ledger.add(entry, outcome)
            assert len(ledger.failed) == 3
        assert contents(folder) == whole, (manifest, failed)


def test_a_full_disk_leaves_whole_rows(tmp_path, monkeypatch):
    from tisdiss_rt.corpus import ledger as module

    def write_half(descriptor, data, at):
        os.write(descriptor, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    with Ledger(tmp_path, Shard(), False, False) as ledger:
        ledger.add(entry_of(1), outcome_of(1))
        before = contents(tmp_path)
        monkeypatch.setattr(module, "write", write_half)
        with pytest.raises(OutputError, match="No space left"):
            ledger.add(entry_of(2), outcome_of(2))
    assert contents(tmp_path) == before


class Lines:
    """Keeps what a run shows."""

    def __init__(self):
        self.lines = []

    def tell(self, line):
        self.lines.append(line)

    warn = tell

    def update(self, progress):
        self.progress = dataclasses.replace(progress)


def job_of(manifest, out, toy, **more):
    engine = {"bundle": str(toy), "provider": "cpu", "threads": 1, "precision": "fp32"}
    return Job(manifest, out, engine, {}, **more)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a file that nobody writes to")
def test_an_entry_that_ends_its_worker_fails_and_the_others_go_on(recordings, gain_toy, tmp_path):
    folder, manifest = recordings
    os.mkfifo(folder / "pipe.wav")  # whoever opens it waits
    write_manifest(manifest, [{"audio_filepath": name} for name in ("a.wav", "pipe.wav", "b.flac", "c.mp3")])
    stop = threading.Event()

    def kill_who_reads():
        while not stop.wait(0.02):
            with suppress(OSError):  # nobody reads
                writing = os.open(folder / "pipe.wav", os.O_WRONLY | os.O_NONBLOCK)
                for child in active_children():
                    child.kill()
                    child.join()
                os.close(writing)

    killer = threading.Thread(target=kill_who_reads)
    killer.start()
    display = Lines()
    try:
        progress = run(job_of(manifest, tmp_path / "out", gain_toy), partial(Workers, 1), display)
    finally:
        stop.set()
        killer.join()
    assert (progress.done, progress.failed, progress.voices) == (4, 1, 6)
    (failed,) = rows_of(tmp_path / "out" / "failed.jsonl")
    assert failed["reason"] == f"{folder / 'pipe.wav'}: each worker that tried it was killed by signal 9"


def test_an_output_that_cannot_be_written_ends_the_run(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0000").touch()
    result = invoke("separate", "--manifest", manifest, "-o", tmp_path / "out", "--bundle", gain_toy, *FIXED)
    assert isinstance(result.exception, OutputError)
    assert "cannot write to" in str(result.exception)
    assert not active_children()
    (tmp_path / "out" / "0000").unlink()
    again = invoke(
        "separate", "--manifest", manifest, "-o", tmp_path / "out", "--resume", "--bundle", gain_toy, *FIXED
    )
    assert again.exit_code == 1
    assert len(rows_of(tmp_path / "out" / "manifest.jsonl")) == 14
    assert len(rows_of(tmp_path / "out" / "failed.jsonl")) == 6


# ---- shares, and what is refused ----


def test_shares_make_up_the_whole(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    whole, out = tmp_path / "whole", tmp_path / "out"
    run(job_of(manifest, whole, gain_toy), partial(Workers, 2), Lines())
    for number in (1, 2, 3):
        run(job_of(manifest, out, gain_toy, shard=Shard(number, 3)), partial(Workers, 1), Lines())
    for name in ("manifest", "failed"):
        shares = [rows_of(out / f"{name}-{number}-of-3.jsonl") for number in (1, 2, 3)]
        together = sorted(json.dumps(row) for share in shares for row in share)
        assert together == sorted(json.dumps(row) for row in rows_of(whole / f"{name}.jsonl"))
    display = Lines()  # what they have done counts for all that go on
    progress = run(job_of(manifest, out, gain_toy, resume=True), partial(Workers, 1), display)
    assert (progress.before, progress.done, progress.failed, progress.voices) == (12, 12, 6, 0)


@pytest.mark.filterwarnings("ignore::tisdiss_rt.SeparationWarning")
def test_failed_lines_fail_until_they_are_separated_whole(recordings, gain_toy, tmp_path):
    folder, manifest = recordings
    write_manifest(manifest, [{"audio_filepath": name} for name in ("cut.wav", "gone.wav", "a.wav")])
    out = tmp_path / "out"
    resume = ("separate", "--manifest", manifest, "-o", out, "--bundle", gain_toy, *FIXED, "--resume")
    assert invoke(*resume).exit_code == 1
    assert "2 failed" in invoke(*resume).stderr
    shutil.copy(folder / "a.wav", folder / "gone.wav")
    assert "2 failed" in invoke(*resume).stderr  # it counts as done
    (out / "failed.jsonl").unlink()
    result = invoke(*resume)
    assert (result.exit_code, "1 failed" in result.stderr) == (1, True)
    rows = rows_of(out / "manifest.jsonl")
    assert sorted(row["parent"] for row in rows) == 2 * ["a.wav"] + 2 * ["cut.wav"] + 2 * ["gone.wav"]
    shutil.copy(folder / "a.wav", folder / "cut.wav")
    write_manifest(out / "manifest.jsonl", [row for row in rows if "problem" not in row])
    assert invoke(*resume).exit_code == 0
    assert sum("problem" in row for row in rows_of(out / "manifest.jsonl")) == 0


def test_a_line_that_becomes_an_entry_is_separated_once(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    start = partial(run, open_separating=partial(Workers, 1), display=Lines())
    job = job_of(manifest, tmp_path / "out", gain_toy, resume=True)
    for row, failed in (("no JSON\n", 1), ({"audio_filepath": "a.wav"}, 0), ({"audio_filepath": "a.wav"}, 0)):
        write_manifest(manifest, [row])
        assert start(job).failed == failed
    assert len(rows_of(tmp_path / "out" / "manifest.jsonl")) == 2


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(("first", "second"), [("1/1", "1/2"), ("1/2", "1/1"), ("2/3", "2/2")])
def test_a_share_replaces_nothing_of_another(recordings, gain_toy, tmp_path, first, second, force):
    _, manifest = recordings
    names = ["a.wav", "b.flac", "c.mp3", "d.ogg"]
    write_manifest(manifest, [{"audio_filepath": name} for name in names])
    out = tmp_path / "out"
    run(job_of(manifest, out, gain_toy, shard=Shard.parse(first)), partial(Workers, 1), Lines())
    before = {name: data for name, data in contents(out).items() if data}
    again = job_of(manifest, out, gain_toy, shard=Shard.parse(second), force=force)
    with pytest.raises(OptionError, match=r"has results of line \d by another share"):
        run(again, partial(Workers, 1), Lines())
    other = write_manifest(
        tmp_path / "other.jsonl", ["no JSON\n", *({"audio_filepath": f"/{n}"} for n in names)]
    )
    with pytest.raises(OptionError, match=r"has results of (another manifest|line \d by another share)"):
        run(dataclasses.replace(again, manifest=other), partial(Workers, 1), Lines())
    assert {name: data for name, data in contents(out).items() if data} == before


def test_force_begins_a_share_anew_and_no_other(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    write_manifest(manifest, [{"audio_filepath": name} for name in ("a.wav", "b.flac")])
    other = write_manifest(manifest.parent / "other.jsonl", 2 * [{"audio_filepath": "c.mp3"}])
    for number in (1, 2):
        share = job_of(manifest, tmp_path / "out", gain_toy, shard=Shard(number, 2))
        run(share, partial(Workers, 1), Lines())
    run(dataclasses.replace(share, manifest=other, force=True), partial(Workers, 1), Lines())
    for number, parent in ((1, "a.wav"), (2, "c.mp3")):
        rows = rows_of(tmp_path / "out" / f"manifest-{number}-of-2.jsonl")
        assert [row["parent"] for row in rows] == 2 * [parent]
        assert all((tmp_path / "out" / row["audio_filepath"]).exists() for row in rows)


def test_halves_of_letters_and_names_that_are_no_text(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    lines = (
        rb'{"audio_filepath": "a.wav", "text": "ok \ud83d"}',
        rb'{"audio_filepath": "\ud83d.wav"}',
        b'{"audio_filepath": "\xff.wav"}',
        b'{"audio_filepath": "\xff.wav", "text": "\\ud83d \xc3\xbc"}',
    )
    manifest.write_bytes(b"\n".join(lines))
    out = tmp_path / "out"
    command = ("separate", "--manifest", manifest, "-o", out, "--bundle", gain_toy, *FIXED, "--resume")
    for _ in range(2):
        assert invoke(*command).exit_code == 1
        assert [row["text"] for row in rows_of(out / "manifest.jsonl")] == 2 * ["ok \ud83d"]
    failed = (out / "failed.jsonl").read_bytes().splitlines()
    assert b'"audio_filepath": "\\ud83d.wav"' in failed[0]
    assert b'"audio_filepath": "\xff.wav"' in failed[1]
    assert (json.loads(failed[2])["audio_filepath"], len(failed)) == ("\udcff.wav", 3)


def test_results_that_are_there(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    write_manifest(manifest, [{"audio_filepath": "a.wav"}])
    job = job_of(manifest, tmp_path / "out", gain_toy)
    start = partial(run, open_separating=partial(Workers, 1), display=Lines())
    start(job)
    with pytest.raises(
        OptionError, match=r"manifest\.jsonl exists; --resume goes on with it, --force begins anew"
    ):
        start(job)
    write_manifest(manifest, [{"audio_filepath": "b.flac"}])
    with pytest.raises(OptionError, match=r"results of another manifest: its line 1 is not this part of b"):
        start(dataclasses.replace(job, resume=True))
    start(dataclasses.replace(job, force=True))
    assert {row["parent"] for row in rows_of(tmp_path / "out" / "manifest.jsonl")} == {"b.flac"}
    write_manifest(tmp_path / "out" / "manifest.jsonl", [{"audio_filepath": "mine.wav"}])
    with pytest.raises(OptionError, match="line 1 is not from here"):
        start(dataclasses.replace(job, resume=True))
    with (
        Ledger(tmp_path / "other", Shard(), False, False),
        pytest.raises(OutputError, match="another run is at work"),
    ):
        Ledger(tmp_path / "other", Shard(), True, False)


@pytest.mark.parametrize("is_broken", [False, True])
def test_another_part_of_a_file_is_another_entry(recordings, gain_toy, tmp_path, is_broken):
    _, manifest = recordings
    part = {"audio_filepath": "text.wav" if is_broken else "a.wav", "offset": 0.1, "duration": 0.2}
    out, engine = tmp_path / "out", ("--bundle", gain_toy, *FIXED)
    again = ("separate", "--manifest", manifest, "-o", out, *engine, "--resume")
    for whole in ({**part, "offset": None}, part):
        shutil.rmtree(out, ignore_errors=True)
        write_manifest(manifest, [whole])
        for _ in range(2):
            assert invoke(*again).exit_code == is_broken
        for other in ({**part, "duration": 0.3}, {**part, "duration": None}):
            write_manifest(manifest, [other])
            assert "has results of another manifest" in str(invoke(*again).exception)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_manifest_that_can_be_read_once_is_refused(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for given in (pipe, manifest.parent):
        result = invoke("separate", "--manifest", given, "-o", tmp_path / "out", "--bundle", gain_toy, *FIXED)
        assert f"{given} is no file; write the manifest into one" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_manifest_that_changes_meanwhile_is_told(recordings, gain_toy, tmp_path):
    _, manifest = recordings
    write_manifest(manifest, [{"audio_filepath": "a.wav"}, {"audio_filepath": "b.flac"}])

    @contextmanager
    def shortened(task):
        write_manifest(manifest, [{"audio_filepath": "a.wav"}])
        with Workers(1, task) as workers:
            yield workers

    job = job_of(manifest, tmp_path / "out", gain_toy)
    os.utime(manifest, (0, 0))  # for the time of change to be another one, however coarse it is
    with pytest.raises(AudioError, match="changed while it was read; go on with --resume"):
        run(job, shortened, Lines())
    write_manifest(manifest, [{"audio_filepath": "a.wav"}, {"audio_filepath": "b.flac"}])
    progress = run(dataclasses.replace(job, resume=True), partial(Workers, 1), Lines())
    assert (progress.before, progress.done) == (1, 2)


@pytest.mark.parametrize(
    "name", ["manifest_in.jsonl", "manifests.jsonl", "failed-1.jsonl", "failed-a-of-2.jsonl"]
)
def test_files_beside_the_results_are_left_alone(recordings, gain_toy, tmp_path, name):
    _, manifest = recordings
    rows = [{"audio_filepath": "a.wav"}]
    write_manifest(manifest, rows)
    (tmp_path / "out").mkdir()
    theirs = write_manifest(tmp_path / "out" / name, rows)
    job = job_of(manifest, tmp_path / "out", gain_toy, resume=True)
    for before in (0, 1):
        progress = run(job, partial(Workers, 1), Lines())
        assert (progress.before, progress.done, progress.failed) == (before, 1, 0)
    assert rows_of(theirs) == rows


@pytest.mark.parametrize("way", [(), ("--force",), ("--resume",)])
@pytest.mark.parametrize(
    ("name", "written"),
    [("manifest.jsonl", None), ("failed.jsonl", None), ("log.txt", None), ("in.jsonl", "manifest.jsonl")],
)
def test_a_manifest_is_never_written_to(recordings, gain_toy, tmp_path, name, written, way):
    folder, _ = recordings
    manifest = write_manifest(folder / name, [{"audio_filepath": "a.wav"}, "no JSON\n"])
    if written:
        (folder / written).symlink_to(manifest)
    before = contents(folder)
    result = invoke("separate", "--manifest", manifest, "-o", folder, "--bundle", gain_toy, *FIXED, *way)
    assert isinstance(result.exception, OptionError)
    assert (
        str(result.exception) == f"{manifest} is a file that this run writes; choose another folder with -o"
    )
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (("--depth", 99), "from 0 to 12"),
        (("--bundle", "edge"), "no bundle 'edge'"),
        (("--voice", "gone.wav"), "gone.wav: no such file"),
        (("--channels", "split", "--talkers", 2), "talkers and voice are of one signal"),
    ],
)
def test_a_wrong_option_costs_no_results(recordings, gain_toy, tmp_path, wrong, problem):
    _, manifest = recordings
    write_manifest(manifest, ["no JSON\n", {"audio_filepath": "a.wav"}])
    again = (
        "separate",
        "--manifest",
        manifest,
        "-o",
        tmp_path / "out",
        "--bundle",
        gain_toy,
        *FIXED,
        "--force",
    )
    assert invoke(*again).exit_code == 1
    before = contents(tmp_path / "out")
    assert len(before["manifest.jsonl"]) == 2
    assert problem in str(invoke(*again, *wrong).exception)
    assert contents(tmp_path / "out") == before
    write_manifest(manifest, ["no JSON\n"])  # which needs no separator
    assert invoke(*again).exit_code == 1
    assert rows_of(tmp_path / "out" / "manifest.jsonl") == []
    assert len(rows_of(tmp_path / "out" / "failed.jsonl")) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is no JSON"),
        ("[1]", "has no audio_filepath"),
        ('{"duration": 1}', "has no audio_filepath"),
        ('{"audio_filepath": ""}', "has no audio_filepath"),
        ('{"audio_filepath": "a.wav", "offset": "1"}', "offset is no number of seconds: '1'"),
        ('{"audio_filepath": "a.wav", "offset": -1, "duration": 1}', "offset is no number of seconds: -1"),
        ('{"audio_filepath": "a.wav", "offset": NaN}', "offset is no number of seconds: nan"),
        (
            '{"audio_filepath": "a.wav", "offset": 0, "duration": true}',
            "duration is no number of seconds: True",
        ),
        *(
            (
                f'{{"audio_filepath": "a.wav", "more": {levels * "["}{levels * "]"}}}',
                "is nested more than 100",
            )
            for levels in (101, 900, 100_000)
        ),
    ],
)
def test_lines_that_are_no_entries(text, problem):
    found = parse(7, text, Path("/data"))
    assert isinstance(found, BadLine)
    assert f"line 7 {problem}" in found.reason or f"line 7: {problem}" in found.reason


def test_entries(tmp_path):
    whole = parse(1, '{"audio_filepath": "x/talk.wav", "duration": "unknown", "text": "ü"}', tmp_path)
    assert (whole.path, whole.start_s, whole.length_s) == (tmp_path / "x" / "talk.wav", 0.0, None)
    assert (whole.fields["text"], whole.name) == ("ü", "0000/000001_talk")
    part = parse(12345678, '{"audio_filepath": "/abs/talk.wav", "offset": 1, "duration": 2.5}', tmp_path)
    assert (part.path, part.start_s, part.length_s) == (Path("/abs/talk.wav"), 1.0, 2.5)
    assert part.name == "12345/12345678_talk"
    long = Entry(1, {}, Path("ü" * 127 + ".wav"))
    assert len(os.fsencode(long.name)) < 130


def test_shards():
    shares = [Shard.parse(f"{number}/3") for number in (1, 2, 3)]
    assert [[line for line in range(1, 8) if share.has(line)] for share in shares] == [
        [1, 4, 7],
        [2, 5],
        [3, 6],
    ]
    assert Shard.parse(None).has(5)
    assert (Shard.parse("1/1").suffix, Shard.parse("2/4").suffix) == ("", "-2-of-4")
    for text in ("0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""):
        with pytest.raises(OptionError, match="--shard is i/n"):
            Shard.parse(text)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "either INPUT or --manifest"),
        (["a.wav", "--manifest", "in.jsonl"], "either INPUT or --manifest"),
        (["a.wav", "--workers", "2"], "--workers is for --manifest"),
        (["a.wav", "--resume"], "--resume is for --manifest"),
        (["--manifest", "in.jsonl", "--resume", "--force"], "exclude each other"),
        (["--manifest", "in.jsonl", "--shard", "2"], "--shard is i/n"),
        (["--manifest", "gone.jsonl"], "gone.jsonl: No such file"),
        (["--manifest", "in.jsonl", "--depth", "99"], "from 0 to 12"),
        (["--manifest", "in.jsonl", "--bundle", "nowhere"], "no bundle 'nowhere'"),
    ],
)
def test_what_is_refused(arguments, problem, gain_toy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest(tmp_path / "in.jsonl", [{"audio_filepath": "a.wav"}])
    bundle = () if "--bundle" in arguments else ("--bundle", gain_toy)
    result = invoke("separate", *arguments, *bundle)
    assert result.exit_code != 0
    assert problem in f"{result.exception} {result.output} {result.stderr}"
    assert not (tmp_path / "separated" / "0000").exists()


# ---- on Ray, as far as that needs none ----


@pytest.mark.parametrize(("threads", "cores"), [(None, 1), (3, 3)])
def test_an_actor_has_as_many_threads_as_cores(gain_toy, tmp_path, monkeypatch, threads, cores):
    ray = mock.MagicMock()
    ray.cluster_resources.return_value = {}
    ray.get.return_value = 4, ()  # what is planned on the cluster
    monkeypatch.setattr(on_ray, "import_ray", lambda: ray)
    job = job_of(tmp_path / "in.jsonl", tmp_path, gain_toy)
    task = Task({**job.engine, "threads": threads}, job.options, tmp_path, tmp_path)
    with on_ray.OnRay("auto", None, task) as separating:
        assert len(list(separating.separate(iter([entry_of(1)])))) == 1
    mapped = ray.data.from_items.return_value.map
    assert mapped.call_args.kwargs["num_cpus"] == cores
    actor = mapped.call_args.args[0](**mapped.call_args.kwargs["fn_constructor_kwargs"])
    assert actor._separator.engine.threads == cores


def test_impossible_threads_are_refused_before_ray_starts(gain_toy, tmp_path, monkeypatch):
    monkeypatch.setattr(on_ray, "import_ray", mock.MagicMock())
    task = Task({"bundle": str(gain_toy), "threads": 0}, {}, tmp_path, tmp_path)
    with pytest.raises(OptionError, match="threads"):
        on_ray.OnRay("auto", None, task)


# ---- rows of datasets ----


def test_rows_that_cannot_be_separated_say_why(gain_toy, noise):
    from tisdiss_rt.ray import _Rows

    rows = _Rows({"bundle": str(gain_toy), "provider": "cpu", "precision": "fp32", "threads": 1}, {})
    sound = noise(RATE)
    voices = rows({"array": sound.astype(np.float64), "sampling_rate": RATE, "id": 1})
    assert [(row["talker"], row["error"], row["id"]) for row in voices] == [(1, "", 1), (2, "", 1)]
    whole = {"array": sound, "sampling_rate": RATE}
    for wrong, problem in (
        ({"array": (sound * 2**15).astype(np.int16)}, "must be floating point with full scale 1, not int16"),
        ({"array": [0, 1, 2]}, "must be floating point"),
        ({"array": ["a", "b"]}, "must be floating point"),
        ({"array": [[0.1], [0.1, 0.2]]}, "inhomogeneous"),
        ({"sampling_rate": None}, "the row has array, but no sampling_rate"),
        ({"sampling_rate": math.nan}, "array and sampling_rate are no samples and their rate"),
        ({"sampling_rate": 0}, "sample_rate must be above 0"),
    ):
        for row in ({**whole, **wrong}, {"audio": {**whole, **wrong}}):
            (found,) = rows({**row, "id": 2})
            assert (found["talker"], found["id"]) == (0, 2)
            assert problem in found["error"]
    (found,) = rows({"array": sound})
    assert "no sampling_rate" in found["error"]


# ---- cores ----


@pytest.mark.parametrize(
    ("siblings", "count", "expected"),
    [
        ({0: "0", 1: "1", 2: "2", 3: "3"}, 2, [{0, 1}, {2, 3}]),
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, 2, [{0, 2}, {1, 3}]),
        ({0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}, 4, [{0}, {2}, {1}, {3}]),
        ({4: "4", 5: "5", 7: "7"}, 2, [{4}, {5, 7}]),
        ({0: "0", 1: "1"}, 3, [{0}, {0}, {1}]),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the system keeps no process on its cores")
def test_workers_have_cores_of_their_own(siblings, count, expected, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(siblings))
    monkeypatch.setattr(cores, "_siblings", siblings.get)
    monkeypatch.setattr(cores, "quota_cores", lambda: None)
    assert cores.shares(count) == expected
    monkeypatch.setattr(cores, "quota_cores", lambda: 1)
    assert cores.shares(count) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the system keeps no process on its cores")
def test_workers_run_on_them(gain_toy, tmp_path):
    before = os.sched_getaffinity(0)
    job = job_of(tmp_path / "in.jsonl", tmp_path, gain_toy)
    with Workers(2, Task(job.engine, job.options, tmp_path, tmp_path)):
        found = [os.sched_getaffinity(child.pid) for child in active_children()]
    assert sorted(map(sorted, found)) == sorted(map(sorted, cores.shares(2) or [before, before]))
    assert os.sched_getaffinity(0) == before
    assert not active_children()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_workers_warn_of_is_told_once_and_logged(recordings, gain_toy, tmp_path, workers):
    _, manifest = recordings
    write_manifest(manifest, [{"audio_filepath": "a.wav"}])
    options = ["--bundle", gain_toy, "--budget-ms", 1e-3, "--provider", "cpu", "--workers", workers]
    result = invoke("separate", "--manifest", manifest, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0
    (told,) = [line for line in result.stderr.splitlines() if "tisdiss-rt: warning: " in line]
    assert "budget" in told
    assert told.removeprefix("tisdiss-rt: ") in (tmp_path / "out" / "log.txt").read_text()
