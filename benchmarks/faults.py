"""Broken and hostile input, killed processes, full disks: nothing crashes, hangs, or is left half.

Every input is a good one with bytes flipped, cut, repeated or inserted, or with extreme numbers in them.
Processes of their own read them; it is a fault if one ends, takes longer than 5 s over an input, holds more
than 1 GB, or raises anything but an error of ours. Then `separate` is killed at random moments, and runs into
a limit on the size of files: results must be whole or absent.

    python -m benchmarks.faults                              # 10 000 inputs and 200 runs
    python -m benchmarks.faults --inputs 600 --runs 10       # quickly
    python -m benchmarks.faults --library libtisdiss_rt.so   # the C library reads manifests, too
    python -m benchmarks.faults --hours 24                   # and sound of many hours, see `endurance.py`
    python -m benchmarks.faults --files 500                  # and a corpus of files, see `stopped_corpora.py`
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import multiprocessing as mp
import os
import random
import resource
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import onnxruntime
import soundfile

from benchmarks import c_library, endurance, stopped_corpora, stopped_runs
from benchmarks.endurance import EXAMPLE
from tisdiss_rt import bundle as bundles
from tisdiss_rt.audio.files import AudioReader
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.conformance import read_example
from tisdiss_rt.errors import TisdissError

SLOWEST_S = 5.0
MOST_BYTES = 1 << 30
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2.5,
    1e-300,
    1e300,
    2**31 - 1,
    2**63,
    10**30,
    "",
    "\0",
    "..",
    [],
    {},
    [[]],
)
FORMATS = (
    *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")),
    *(("AIFF", "PCM_24"), ("CAF", "PCM_16"), ("W64", "PCM_16")),
)


@dataclass(frozen=True)
class Kind:
    """A kind of input: good ones, how they are broken, and what reads one in a folder of its own."""

    name: str
    good: list[bytes]
    broken: Callable[[bytes, random.Random], bytes]
    read: Callable[[bytes, Path], None]


def broken_bytes(good: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one to four faults, most of them near the beginning, where headers are."""
    data = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        at = min(int(len(data) * rng.random() ** rng.choice((1, 4))), max(len(data) - 1, 0))
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at:]
            case 2:
                del data[at : at + rng.randrange(1, 64)]
            case 3:
                data[at:at] = data[at : at + rng.randrange(1, 2000)]
            case 4:
                data[at:at] = rng.randbytes(rng.randrange(1, 64))
            case _:
                layout = rng.choice(("<I", ">I", "<Q"))
                data[at : at + struct.calcsize(layout)] = struct.pack(layout, rng.choice(EXTREMES))
    return bytes(data)


def broken_json(good: bytes, rng: random.Random) -> bytes:
    """Return the manifest with entries gone, replaced or added; now and then with its bytes broken."""
    if rng.random() < 0.2:
        return broken_bytes(good, rng)
    data = json.loads(good)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(data))
        parent, key = rng.choice(places)
        with suppress(KeyError, IndexError, TypeError):
            match rng.randrange(4):
                case 0:
                    del parent[key]
                case 1 if isinstance(parent, dict):
                    parent["surprise"] = rng.choice(VALUES)
                case _:
                    parent[key] = rng.choice(VALUES)
    return json.dumps(data).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        yield value, key
        yield from _places(item)


def read_audio(data: bytes, folder: Path) -> None:
    path = folder / "input"
    path.write_bytes(data)
    with AudioReader(path) as reader:
        for _ in reader.blocks():
            if reader.done > 100 * 3600 * 48000:
                raise AssertionError("more samples than any file can hold")


def _bundle_with(folder: Path, name: str, data: bytes) -> Path:
    """Return a copy of the streaming bundle with one file replaced, and its hash in the manifest."""
    target = folder / "bundle"
    if not target.is_dir():
        shutil.copytree(bundles.SHIPPED_FOLDER / "live-16k", target)
    shutil.copy(bundles.SHIPPED_FOLDER / "live-16k" / bundles.MANIFEST_NAME, target)
    (target / name).write_bytes(data)
    if name != bundles.MANIFEST_NAME:
        manifest = target / bundles.MANIFEST_NAME
        before = bundles.sha256_of(bundles.SHIPPED_FOLDER / "live-16k" / name)
        manifest.write_text(manifest.read_text().replace(before, bundles.sha256_of(target / name)))
    return target


def read_manifest(data: bytes, folder: Path) -> None:
    bundles.load(_bundle_with(folder, bundles.MANIFEST_NAME, data))


def read_graph(data: bytes, folder: Path) -> None:
    target = _bundle_with(folder, "block.onnx", data)
    try:
        open_engine(bundles.load(target), provider="cpu", threads=1)
    finally:
        shutil.copy(bundles.SHIPPED_FOLDER / "live-16k" / "block.onnx", target)


def read_npz(data: bytes, folder: Path) -> None:
    target = _bundle_with(folder, "conformance.npz", data)
    try:
        read_example(bundles.load(target))
    finally:
        shutil.copy(bundles.SHIPPED_FOLDER / "live-16k" / "conformance.npz", target)


def read_checkpoint(data: bytes, folder: Path) -> None:
    from tisdiss_models import load_checkpoint
    from tisdiss_models.checkpoint import CheckpointError
    from tisdiss_models.config import ConfigError

    path = folder / "network.pt"
    path.write_bytes(data)
    try:
        load_checkpoint(path)
    except (CheckpointError, ConfigError) as error:
        raise TisdissError(str(error)) from error


def read_in_c(library: str, data: bytes, folder: Path) -> None:
    loaded = c_library.load(Path(library))
    runtime = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))
    options = c_library.OpenOptions(onnxruntime=os.fsencode(runtime))
    target = _bundle_with(folder, bundles.MANIFEST_NAME, data)
    handle = ctypes.c_void_p()
    status = loaded.tisdiss_open(os.fsencode(target), ctypes.byref(options), ctypes.byref(handle))
    loaded.tisdiss_close(handle)
    if status != c_library.OK:
        kind = TisdissError if status == c_library.BUNDLE else AssertionError
        raise kind(loaded.tisdiss_error_text(None).decode())


def kinds(library: str | None) -> list[Kind]:
    """Return every kind of input; that of the C library only where its path is given."""
    sound, rate = soundfile.read(EXAMPLE, frames=16000, dtype="float32")
    audio = []
    for form, subtype in FORMATS:
        file = io.BytesIO()
        with suppress(soundfile.LibsndfileError, ValueError):  # an old libsndfile has no MP3
            soundfile.write(file, sound, rate, subtype=subtype, format=form)
            audio.append(file.getvalue())
    shipped = bundles.SHIPPED_FOLDER / "live-16k"
    manifest = (shipped / bundles.MANIFEST_NAME).read_bytes()
    found = [
        Kind("audio", audio, broken_bytes, read_audio),
        Kind("manifest", [manifest], broken_json, read_manifest),
        Kind("graph", [(shipped / "block.onnx").read_bytes()], broken_bytes, read_graph),
        Kind("conformance.npz", [(shipped / "conformance.npz").read_bytes()], broken_bytes, read_npz),
        Kind("checkpoint", [_checkpoint()], broken_bytes, read_checkpoint),
    ]
    if library is not None:
        found.append(Kind("manifest in C", [manifest], broken_json, lambda *a: read_in_c(library, *a)))
    return found


def _checkpoint() -> bytes:
    import torch

    from tisdiss_models import Network, NetworkConfig, save_checkpoint

    torch.manual_seed(0)
    config = NetworkConfig(n_fft=32, hop=16, dim=8, norm_groups=2, heads=1, attention_dim=4, ffn_dims=(8, 8))
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "n.pt", Network(config), {})
        return (Path(folder) / "n.pt").read_bytes()


def _read_all(kind: Kind, seeds: range, pipe: Connection) -> None:
    """Read the inputs of these seeds; report each before it begins, and how it went."""
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        for seed in seeds:
            rng = random.Random(seed)
            data = kind.broken(rng.choice(kind.good), rng)
            pipe.send((seed, None))
            try:
                kind.read(data, Path(folder))
                outcome = "read"
            except TisdissError:
                outcome = "refused"
            except Exception as error:
                outcome = f"fault: {type(error).__name__}: {error}"
            pipe.send((seed, outcome))
    pipe.send((-1, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)))


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def fuzz(kind: Kind, inputs: int) -> tuple[dict[str, int], list[str]]:
    """Return how many inputs were read and refused, and the faults."""
    counts, faults, slowest_s, peak_kb, at = {"read": 0, "refused": 0}, [], 0.0, 0, 0
    while at < inputs:
        ours, theirs = mp.Pipe(duplex=False)
        process = mp.get_context("fork").Process(target=_read_all, args=(kind, range(at, inputs), theirs))
        process.start()
        theirs.close()
        while True:
            begin_s = time.monotonic()
            try:
                if not ours.poll(SLOWEST_S):
                    faults.append(f"{kind.name} {at}: takes longer than {SLOWEST_S:g} s")
                    process.kill()
                    break
                seed, outcome = ours.recv()
            except EOFError:
                faults.append(f"{kind.name} {at}: the process ended")
                break
            if seed < 0:
                peak_kb = max(peak_kb, int(outcome))
                break
            at = seed
            if outcome is None:
                continue
            slowest_s = max(slowest_s, time.monotonic() - begin_s)
            if outcome in counts:
                counts[outcome] += 1
            else:
                faults.append(f"{kind.name} {seed}: {outcome}")
        process.join()
        at += 1
    if peak_kb * 1024 > MOST_BYTES:
        faults.append(f"{kind.name}: held {peak_kb / 1024:.0f} MB")
    return {**counts, "slowest_ms": round(1e3 * slowest_s), "peak_mb": peak_kb // 1024}, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000, help="broken inputs in all")
    parser.add_argument("--runs", type=int, default=200, help="runs that are killed or meet a full disk")
    parser.add_argument("--library", help="path of the C library, to read manifests with it too")
    parser.add_argument("--hours", type=float, default=0, help="length of a file, and up to 1 of a stream")
    parser.add_argument("--files", type=int, default=0, help="of a corpus that is killed over and over")
    options = parser.parse_args()
    begin_s, faults = time.monotonic(), []
    found = kinds(options.library)
    for kind in found:
        counts, bad = fuzz(kind, options.inputs // len(found))
        faults += bad
        print(f"{kind.name}: " + ", ".join(f"{value} {name}" for name, value in counts.items()), flush=True)
    whole, bad = stopped_runs.faults_of(options.runs) if options.runs else (0, [])
    faults += bad
    if options.hours:
        faults += endurance.faults(options.hours)
    if options.files:
        faults += stopped_corpora.faults_of(options.files)
    print(f"{options.runs} runs stopped, {whole} of them after their results")
    print(f"{time.monotonic() - begin_s:.0f} s in all; {len(faults)} faults")
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
