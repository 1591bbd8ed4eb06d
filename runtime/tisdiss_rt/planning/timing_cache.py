"""What was measured on this machine: the times of `bench` for the planner, the fastest provider for ``auto``.

One JSON file for each combination of bundle, processor and way to run, in the user's folder for settings, or
in ``TISDISS_CACHE``. A file that cannot be read is as good as none.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
from pathlib import Path

import click

from tisdiss_rt.engine.backends import BACKENDS
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.engine.cores import physical_cores
from tisdiss_rt.planning.forecast import Timings

GRAPHS = ("stem", "repetition", "decoder")


def write(engine: Engine, timings: dict[int, Timings]) -> Path:
    """Write the timings, by the length of windows or steps in samples; return the path. Raises OSError."""
    path = _path(engine)
    kept = {
        samples: {name: list(getattr(measured, name)) for name in GRAPHS}
        for samples, measured in timings.items()
    }
    _write(path, {"machine": _machine(engine), "timings_ms": kept})
    return path


def read(engine: Engine, samples: int) -> Timings | None:
    """Find what was kept for this length of window or step; None if there is nothing."""
    try:
        kept = json.loads(_path(engine).read_text())["timings_ms"][str(samples)]
        timings = Timings()
        for name in GRAPHS:
            getattr(timings, name).extend(float(ms) for ms in kept[name])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return timings if all(getattr(timings, name) for name in GRAPHS) else None


def write_choice(reference: Engine, chosen: Engine) -> None:
    """Write what was found to be faster than ``reference``; do nothing where that cannot be written."""
    choice = {"provider": chosen.provider, "precision": chosen.precision}
    with contextlib.suppress(OSError):
        _write(_path(reference, "choice"), {"machine": _machine(reference), "choice": choice})


def read_choice(reference: Engine) -> tuple[str, str] | None:
    """Find what was kept by `write_choice`: provider and precision."""
    try:
        choice = json.loads(_path(reference, "choice").read_text())["choice"]
        return str(choice["provider"]), str(choice["precision"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _write(path: Path, content: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


def _path(engine: Engine, kind: str = "timings") -> Path:
    folder = Path(os.environ.get("TISDISS_CACHE") or click.get_app_dir("tisdiss-rt"))
    digest = hashlib.sha256(json.dumps(_machine(engine)).encode()).hexdigest()
    return folder / f"{kind}-{digest[:16]}.json"


def _machine(engine: Engine) -> dict[str, object]:
    """Return everything that the times depend on."""
    graphs = dataclasses.asdict(engine.manifest.graphs)
    return {
        "bundle": engine.manifest.name,
        "graphs": hashlib.sha256(json.dumps(graphs, sort_keys=True).encode()).hexdigest(),
        "provider": engine.provider,
        "threads": engine.threads,
        "precision": engine.precision,
        "options": engine.provider_options,
        "installed": {name: backend.version() for name, backend in BACKENDS.items()},
        "processor": processor(),
        "graphics": graphics(),
        "cores": physical_cores(),
    }


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    if names:
        return names[0]
    parts = sorted({line.split(":", 1)[1].strip() for line in lines if line.startswith("CPU part")})
    return " ".join([platform.machine(), *parts])  # of ARM


def graphics() -> list[str]:
    """Return the names of the NVIDIA cards, where Linux reports them."""
    cards = Path("/proc/driver/nvidia/gpus").glob("*/information")
    lines = [line for card in sorted(cards) for line in card.read_text().splitlines()]
    return [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model")]
