"""The bundle format: owned here, so that the exporter and every runtime agree on one definition.

A bundle is a folder with ``manifest.json``, the graphs that it names, and ``conformance.npz``: an array
``mix`` (samples,) and, for each checked depth N, an array ``est_N`` (sources, samples), all float32; that of
a streaming bundle also has ``depths``, int64, one for each step, and ``est_switching``, the output at these
depths. Where the block gives ``change``, so does the example: (steps, repetitions, sources); with the part
``estimate`` there is ``estimate_N`` (sources, 3), what it tells of ``est_N``. The dataclasses of
`manifest.schema` are the schema of the manifest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tisdiss_rt.errors import BundleError
from tisdiss_rt.external_data import refuse_external_data
from tisdiss_rt.manifest.parsing import parse_manifest
from tisdiss_rt.manifest.schema import (
    CHANGE,
    ESTIMATE,
    FORMAT,
    GRAPHS,
    VOICE,
    DepthQuality,
    DepthRange,
    FileRef,
    Graph,
    Graphs,
    Manifest,
    Part,
    Quality,
    SceneQuality,
    StateBuffer,
    StreamTiming,
    TensorSpec,
    Training,
    WindowQuality,
)

__all__ = [
    "CHANGE",
    "ESTIMATE",
    "FORMAT",
    "GRAPHS",
    "VOICE",
    "Bundle",
    "DepthQuality",
    "DepthRange",
    "FileRef",
    "Graph",
    "Graphs",
    "Manifest",
    "Part",
    "Quality",
    "SceneQuality",
    "StateBuffer",
    "StreamTiming",
    "TensorSpec",
    "Training",
    "WindowQuality",
    "load",
    "parse_manifest",
    "sha256_of",
    "shipped",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"
MOST_MANIFEST_BYTES = 1 << 20  # beyond, it is damaged or meant to do harm
MOST_FILE_BYTES = 1 << 29  # of a graph
SHIPPED_FOLDER = Path(__file__).parent / "bundles"


@dataclass(frozen=True)
class Bundle:
    """A folder and its manifest."""

    folder: Path
    manifest: Manifest

    def precisions(self) -> tuple[str, ...]:
        """Return the precisions in which the bundle carries any graph, ``fp32`` first."""
        carried = {key for graph in GRAPHS for key in getattr(self.manifest.graphs, graph).files}
        return ("fp32", *sorted(carried - {"fp32"}))

    def read_graph(self, graph: str, precision: str) -> bytes:
        """Return the verified content of a graph's file; fp32 where that graph lacks the precision.

        Raises BundleError also where the graph keeps data in other files.
        """
        files: dict[str, FileRef] = getattr(self.manifest.graphs, graph).files
        return self.read_onnx(files.get(precision, files["fp32"]))

    def read_onnx(self, file: FileRef) -> bytes:
        """Return the verified content of any graph's file; raises BundleError as `read_graph`."""
        content = self.read(file)
        refuse_external_data(content, file.path)
        return content

    def read(self, file: FileRef) -> bytes:
        """Return a file's content; raises BundleError unless it has the SHA-256 of the manifest."""
        content = _read_regular(self.folder / file.path, MOST_FILE_BYTES)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise BundleError(f"{self.folder / file.path} is damaged: its SHA-256 is not the manifest's")
        return content

    def part(self, name: str) -> Part | None:
        """Return the part of this name, or None."""
        return next((part for part in self.manifest.parts if part.name == name), None)


def shipped() -> list[str]:
    """Return the names of the bundles that are installed with this package."""
    return sorted(folder.parent.name for folder in SHIPPED_FOLDER.glob(f"*/{MANIFEST_NAME}"))


def load(name_or_dir: str | os.PathLike[str]) -> Bundle:
    """Load a shipped bundle by its name, or any bundle by its folder.

    This checks the manifest, and that every file it names exists; the content of a file is verified when it
    is read.

    Raises:
        BundleError: the bundle is missing, incomplete, invalid or too new.
    """
    names = shipped()
    folder = SHIPPED_FOLDER / name_or_dir if os.fspath(name_or_dir) in names else Path(name_or_dir)
    if not os.path.isdir(folder):  # noqa: PTH112 - false for what cannot be a path, where pathlib raises
        there = ", ".join(names) or "none"
        raise BundleError(f"no bundle {os.fspath(name_or_dir)!r}: neither a folder nor shipped ({there})")
    path = folder / MANIFEST_NAME
    if not path.exists():
        raise BundleError(f"{folder} is not a bundle: it has no {MANIFEST_NAME}")
    try:
        text = _read_regular(path, MOST_MANIFEST_BYTES).decode()
        data = json.loads(text, parse_constant=_refuse_constant)
    except (RecursionError, ValueError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error
    try:
        bundle = Bundle(folder, parse_manifest(data))
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from None
    for file in bundle.manifest.files():
        if not os.path.isfile(folder / file.path):  # noqa: PTH113 - likewise
            raise BundleError(f"bundle {folder} is incomplete: {file.path} is missing")
    return bundle


def _read_regular(path: Path, most_bytes: int) -> bytes:
    """Return the content of a regular file; raises BundleError for any other, and for one too large."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{path} is not a file")
        if found.st_size > most_bytes:
            raise BundleError(f"{path} has {found.st_size} bytes; at most {most_bytes} are read")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def write_manifest(folder: str | os.PathLike[str], manifest: Manifest) -> Path:
    """Check the manifest as a reader would and write it into the folder; returns its path.

    Raises BundleError for a manifest that could not be loaded again.
    """
    text = json.dumps(dataclasses.asdict(manifest), indent=1, ensure_ascii=False) + "\n"
    parse_manifest(json.loads(text))
    path = Path(folder) / MANIFEST_NAME
    path.write_text(text, encoding="utf-8")
    return path


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
