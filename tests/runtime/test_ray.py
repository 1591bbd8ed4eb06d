"""A local cluster of two nodes: datasets and manifests go through it, also when a node is lost."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import invoke
from test_corpus import contents, recordings, rows_of, write_manifest  # noqa: F401

if importlib.util.find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install 'tisdiss-rt[ray]'", allow_module_level=True)

from tisdiss_rt.corpus.on_ray import import_ray
from tisdiss_rt.ray import separate_dataset

pytestmark = pytest.mark.filterwarnings("ignore")  # what Ray and its libraries warn of
RATE = 16000
FIXED = ("--provider", "cpu", "--precision", "fp32", "--threads", "1")


def node(ip, *arguments):
    """Start a node with two cores, as Ray counts them; it runs until it is killed."""
    command = [Path(sys.executable).with_name("ray"), "start", "--block", "--num-cpus=2", *arguments]
    own = (f"--node-ip-address={ip}", "--disable-usage-stats", "--object-store-memory=100000000")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}  # whatever this machine has of other clusters
    environment["RAY_worker_niceness"] = "0"  # as the tests themselves
    return subprocess.Popen([*command, *own], start_new_session=True, env=environment, **quiet)


def kill(process):
    """Kill a node, with all its processes, and not a moment to say anything."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until(is_true, seconds=90.0):
    until_s = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until_s
        time.sleep(0.1)


@pytest.fixture(scope="module")
def head():
    """The address of a cluster of one node, and how to add one."""
    port = next(port for port in range(20000 + os.getpid() % 10000, 32768) if not _answers(port))
    address = f"127.0.0.1:{port}"  # none of those that systems give away, as Ray takes many of them
    folder = tempfile.mkdtemp(prefix="ray")  # short: sockets are in it
    own = ("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")
    process = node("127.0.0.1", *own)
    try:
        wait_until(lambda: _answers(port))
        yield address
    finally:
        kill(process)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port):
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def second(head):
    process = node("127.0.0.2", f"--address={head}")  # programs take the node that has their own address
    yield process
    kill(process)


@pytest.fixture
def connected(head):
    ray = import_ray()
    ray.init(head, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


def nodes_of(ray):
    return sum(node["Alive"] for node in ray.nodes())


ENGINE = {"provider": "cpu", "precision": "fp32"}


def test_parquet_in_and_out(connected, gain_toy, noise, tmp_path):
    sound = noise(3, RATE)
    rows = []
    for number, mix in enumerate(sound):
        soundfile.write(tmp_path / "a.flac", mix, RATE)
        rows.append({"id": number, "bytes": (tmp_path / "a.flac").read_bytes(), "lang": "en"})
    rows.append({"id": 3, "bytes": b"no audio", "lang": "en"})
    ray = connected
    ray.data.from_items(rows).write_parquet(str(tmp_path / "in"))
    given = ray.data.read_parquet(str(tmp_path / "in"))
    separate_dataset(given, str(gain_toy), **ENGINE, depth=1).write_parquet(str(tmp_path / "out"))
    found = ray.data.read_parquet(str(tmp_path / "out")).take_all()
    voices = [(number, talker) for number in range(3) for talker in (1, 2)]
    assert sorted((row["id"], row["talker"]) for row in found) == [*voices, (3, 0)]
    for row in found:
        assert row["lang"] == "en"
        if row["id"] == 3:
            assert "not readable as audio" in row["error"] and row["bytes"] == b""
            continue
        (tmp_path / "voice.wav").write_bytes(row["bytes"])
        voice, rate = soundfile.read(tmp_path / "voice.wav")
        share = {1: 0.7, 2: 0.3}[row["talker"]]
        np.testing.assert_allclose(voice, 0.75 * share * sound[row["id"]], atol=2**-14)
        assert (rate, row["sampling_rate"], row["error"], row["voices"]) == (RATE, RATE, "", 2)
        assert (row["speech_s"], row["depth"]) == (pytest.approx(1.0), 1.0)


def test_arrays_paths_and_structs(connected, gain_toy, noise, tmp_path):
    ray, sound = connected, noise(RATE)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    content = (tmp_path / "a.wav").read_bytes()

    def voices_of(row):
        dataset = separate_dataset(ray.data.from_items([row]), str(gain_toy), **ENGINE)
        return sorted(dataset.take_all(), key=lambda found: found["talker"])

    expected = voices_of({"array": sound, "sampling_rate": RATE, "name": "a"})
    assert [row["name"] for row in expected] == ["a", "a"]
    for rows in (
        voices_of({"path": str(tmp_path / "a.wav")}),
        voices_of({"audio": {"bytes": content, "path": "a.wav"}}),
    ):
        for row, other in zip(rows, expected, strict=True):
            wav = row["audio"]["bytes"] if "audio" in row else row["bytes"]
            (tmp_path / "voice.wav").write_bytes(wav)
            voice, _ = soundfile.read(tmp_path / "voice.wav", dtype="float32")
            np.testing.assert_array_equal(voice, other["array"])
    (nothing,) = voices_of({"array": np.full(100, np.nan, np.float32), "sampling_rate": RATE})
    assert "NaN" in nothing["error"]
    (nothing,) = voices_of({"text": "no audio"})
    assert "has none of array, bytes and path" in nothing["error"]


def test_a_manifest_gives_what_it_gives_without(head, second, recordings, gain_toy, tmp_path, monkeypatch):  # noqa: F811
    _, manifest = recordings
    shutil.copytree(gain_toy, tmp_path / "toy")
    monkeypatch.chdir(tmp_path)  # where the cluster is not
    plain, out = Path("plain"), Path("out")
    common = ("--manifest", manifest.relative_to(tmp_path), "--bundle", "toy", *FIXED)
    assert invoke("separate", *common, "-o", plain).exit_code == 1
    result = invoke("separate", *common, "-o", out, "--ray", head)
    assert result.exit_code == 1, result.output
    assert f"toy on Ray at {head}, " in (out / "log.txt").read_text()
    assert contents(out) == contents(plain)
    again = invoke("separate", *common, "-o", out, "--ray", head, "--resume")
    assert again.exit_code == 1
    assert contents(out) == contents(plain)


def test_an_output_that_cannot_be_written_ends_the_run(head, recordings, gain_toy, tmp_path):  # noqa: F811
    _, manifest = recordings
    out = tmp_path / "out"
    out.mkdir()
    (out / "0000").touch()
    result = invoke("separate", "--manifest", manifest, "-o", out, "--bundle", gain_toy, "--ray", head)
    assert "cannot write to" in str(result.exception)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="finds processes as Linux lists them")
def test_an_entry_that_ends_its_process_fails_and_the_others_go_on(head, recordings, gain_toy, tmp_path):  # noqa: F811
    folder, manifest = recordings
    pipe = folder / "pipe.wav"
    os.mkfifo(pipe)  # whoever opens it waits
    write_manifest(manifest, [{"audio_filepath": name} for name in ("a.wav", "pipe.wav", "b.flac", "c.mp3")])
    stop = threading.Event()

    def kill_who_reads():
        while not stop.wait(0.05):
            with suppress(OSError):  # nobody reads
                writing = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                while not (found := readers_of(pipe)) and not stop.is_set():  # it is still opening it
                    time.sleep(0.01)
                for process in found:
                    os.kill(process, signal.SIGKILL)
                os.close(writing)

    killer = threading.Thread(target=kill_who_reads)
    killer.start()
    common = ("--manifest", manifest, "-o", tmp_path / "out", "--bundle", gain_toy, *FIXED)
    try:
        result = invoke("separate", *common, "--ray", head)
    finally:
        stop.set()
        killer.join()
    assert result.exit_code == 1, result.output
    assert len(rows_of(tmp_path / "out" / "manifest.jsonl")) == 6
    (failed,) = rows_of(tmp_path / "out" / "failed.jsonl")
    assert failed["reason"] == f"{pipe}: each process that tried it ended"


def readers_of(pipe):
    """The processes that have a file open, but this one."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if link.readlink() == pipe:
                found.add(int(link.parts[2]))
    return found - {os.getpid()}


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ([], "no Ray cluster at 127.0.0.1:1: "),
        (["--depth", 99], "from 0 to 12"),
        (["--bundle", "nowhere"], "no bundle 'nowhere'"),
    ],
)
def test_what_is_refused(recordings, gain_toy, tmp_path, more, problem):  # noqa: F811
    _, manifest = recordings
    common = ("--manifest", manifest, "-o", tmp_path / "out", "--ray", "127.0.0.1:1", "--bundle", gain_toy)
    result = invoke("separate", *common, *more)
    assert problem in str(result.exception)


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--precision", "int4"], "has no precision 'int4'"),
        (["--provider", "nothing"], "'nothing'"),
    ],
)
def test_what_no_actor_could_do_costs_no_results(head, recordings, gain_toy, tmp_path, more, problem):  # noqa: F811
    _, manifest = recordings
    out = tmp_path / "out"
    common = ("--manifest", manifest, "-o", out, "--bundle", gain_toy)
    assert invoke("separate", *common, *FIXED).exit_code == 1
    before = contents(out)
    result = invoke("separate", *common, "--force", "--ray", head, *more)
    assert problem in str(result.exception)
    assert "\n" not in str(result.exception)
    assert contents(out) == before


def test_a_node_that_is_lost_loses_nothing(head, second, recordings, gain_toy, tmp_path):  # noqa: F811
    folder, manifest = recordings
    names = ["a.wav", "text.wav", "cut.wav"]
    for number in range(60):
        shutil.copy(folder / "b.flac", folder / f"{number}.flac")
        names.append(f"{number}.flac")
    write_manifest(manifest, [{"audio_filepath": name} for name in names])
    common = ["separate", "--manifest", manifest, "--bundle", gain_toy, *FIXED]
    plain, out = tmp_path / "plain", tmp_path / "out"
    assert invoke(*common, "-o", plain).exit_code == 1
    program = [sys.executable, "-c", "from tisdiss_rt.cli.main import main; main()"]
    arguments = [*map(str, common), "-o", str(out), "--ray", head, "--workers", "2"]
    ray = import_ray()
    ray.init(head, log_to_driver=False)
    wait_until(lambda: nodes_of(ray) == 2)
    running = subprocess.Popen([*program, *arguments], stderr=subprocess.PIPE)
    try:
        wait_until(lambda: (out / "manifest.jsonl").exists() and len(rows_of(out / "manifest.jsonl")) > 10)
        kill(second)
        _, told = running.communicate(timeout=300)
    finally:
        ray.shutdown()
        running.kill()
    assert running.returncode == 1, told.decode()
    assert contents(out) == contents(plain)
