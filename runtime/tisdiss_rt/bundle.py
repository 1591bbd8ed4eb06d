"""The bundle format: owned here, so that the exporter and every runtime agree on one definition.

A bundle is a folder with ``manifest.json``, the graphs that it names, and ``conformance.npz``: an array
``mix`` (samples,) and, for each checked depth N, an array ``est_N`` (sources, samples), all float32; that of
a streaming bundle also has ``depths``, int64, one for each step, and ``est_switching``, the output at these
depths. Where the block gives ``change``, so does the example: (steps, repetitions, sources); with the part
``estimate`` there is ``estimate_N`` (sources, 3), what it tells of ``est_N``. The dataclasses
below are the schema of the manifest; unknown keys are errors, so that a misspelt or newer entry is never
silently ignored.

Format 2 has, beyond format 1, the quality per scene and optional parts (`Part`). Manifests of format 1 are
read as manifests of format 2 that have neither.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import stat
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from tisdiss_rt.errors import BundleError, OptionError
from tisdiss_rt.external_data import refuse_external_data

FORMAT = 2
GRAPHS = ("stem", "block", "decoder")
KINDS = ("offline", "streaming")
CHANGE = "change"  # output of the block
MANIFEST_NAME = "manifest.json"
# Beyond these limits a manifest is damaged or meant to do harm; everything real is far below.
MOST_MANIFEST_BYTES = 1 << 20
MOST_FILE_BYTES = 1 << 29  # of a graph
LEAST_HZ = 1000  # below, some lengths of time are no sample
MOST_HZ = 768_000
MOST_SOURCES = 8  # as their orders are tried
DEEPEST = 64  # repetitions of the block
MOST_WINDOWS = 32
LONGEST_S = 60  # of windows, steps and latency
LONGEST_HOP_S = 0.25  # of voiceprints: a block of 0.256 s has one at least
MOST_NUMBERS = 1 << 26  # of a tensor of fixed shape, and of all that a stream keeps
WINDOW_STRETCH = 4  # by which a window may be longer than the longest of the manifest
MOST_INTEGER = 2**31 - 1
SHIPPED_FOLDER = Path(__file__).parent / "bundles"

_T = TypeVar("_T")


@dataclass(frozen=True)
class FileRef:
    """A file of the bundle: its path inside the folder (with ``/``) and its SHA-256 in hexadecimal."""

    path: str
    sha256: str


@dataclass(frozen=True)
class TensorSpec:
    """A float32 input or output of a graph; a dimension that varies has a name instead of a number."""

    name: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Graph:
    """One graph: its tensors in order, and a file for each precision (``fp32`` is always there)."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    files: dict[str, FileRef]


@dataclass(frozen=True)
class Graphs:
    """The three graphs. A depth of N is the stem, N times the block, and the decoder.

    The stem's input is ``mix`` (1, samples). Every input of block and decoder is found by its name among
    ``mix``, the stem's outputs and the current ``z``. The block's first output is the next ``z``; the
    decoder's first output is ``est`` (sources, samples). The block may have an output ``change`` (sources,):
    how far the repetition has moved the map of each source, as a share of its length afterwards. In a
    streaming bundle a graph also takes the buffers that ``state`` names for it, and its further outputs are
    what to append to them (see `StateBuffer`).
    """

    stem: Graph
    block: Graph
    decoder: Graph


@dataclass(frozen=True)
class StreamTiming:
    """The step of a streaming bundle, in samples at its sample rate.

    Every step takes and returns ``step_samples``. A sample of the mixture comes out, separated, once
    ``latency_samples`` from it on, itself included, have gone in: with a latency of two steps, the output of
    a step belongs to the samples of the previous step.
    """

    step_samples: int
    latency_samples: int


@dataclass(frozen=True)
class StateBuffer:
    """State of a graph of a streaming bundle: a first-in-first-out buffer along one axis.

    Attributes:
        graph: ``stem``, ``block`` or ``decoder``. Of the block's buffers there is one for each repetition.
        input: the graph's input that takes the buffer, oldest entry first; its shape is fixed, and it is all
            zeros when a stream begins.
        newest: the graph's output with the entries to append after a run; as many of the oldest are dropped.
            A repetition that a step skips gets those of the deepest repetition that ran in that step, or
            zeros if none did.
        axis: along which it is first in, first out.
    """

    graph: str
    input: str
    newest: str
    axis: int


@dataclass(frozen=True)
class DepthRange:
    """Repetitions of the block: the trained number, and the most that may run."""

    trained: int
    max: int


@dataclass(frozen=True)
class DepthQuality:
    """Quality of whole mixtures at one depth, with the limits of its confidence interval, in dB."""

    depth: int
    si_sdri_db: float
    low_db: float
    high_db: float


@dataclass(frozen=True)
class WindowQuality:
    """Quality at one depth when the mixtures are separated in overlapping windows of one length."""

    window_s: float
    depth: int
    si_sdri_db: float


@dataclass(frozen=True)
class SceneQuality:
    """Quality of whole mixtures of one scene (clean, telephone, a room ...) by depth."""

    scene: str
    depths: tuple[DepthQuality, ...]


@dataclass(frozen=True)
class Quality:
    """Measured quality, and the test set.

    Where there are ``scenes``, ``depths`` and ``windows`` are the means over them. The planner chooses from
    these means, and they are what is promised.
    """

    test_set: str
    metric: str
    mixtures: int
    depths: tuple[DepthQuality, ...]
    windows: tuple[WindowQuality, ...]
    scenes: tuple[SceneQuality, ...] = ()


@dataclass(frozen=True)
class Training:
    """Origin of the weights."""

    data: str
    steps: int
    licence: str


@dataclass(frozen=True)
class Part:
    """An addition to the three graphs that a runtime may use.

    The part ``voice`` has a graph that turns separated voices into voiceprints: its input ``voices``
    (sources, samples) at the bundle's rate gives ``prints`` (sources, frames, size) and ``weights`` (sources,
    frames). Its values are ``hop``, the samples from one frame to the next, and ``same`` and ``certainty``,
    see `talkers.blocks.Voiceprints`.

    The part ``estimate`` has no graph. Its values are the polynomials of `estimate.estimator.Estimator`: how
    good voices are, from the block's output ``change`` and from the sound.

    Attributes:
        name: of the part, which says what it is for.
        required: whether a runtime that does not know the part must refuse the bundle; otherwise it ignores
            the part.
        graph: a further graph, or None.
        values: numbers that belong to the part, by name.
    """

    name: str
    required: bool
    graph: Graph | None
    values: dict[str, tuple[float, ...]]


VOICE, ESTIMATE = "voice", "estimate"
PARTS: tuple[str, ...] = (VOICE, ESTIMATE)  # the parts that this runtime supports
SPLIT_FEATURES, REPEATED_FEATURES, GAIN_FEATURES = 10, 13, 5  # of the polynomials of an estimate


@dataclass(frozen=True)
class Manifest:
    """Everything that a runtime in any language needs besides the graphs."""

    format: int
    name: str
    kind: str
    sample_rate: int
    sources: int
    min_samples: int
    windows_s: tuple[float, ...]
    depth: DepthRange
    graphs: Graphs
    stream: StreamTiming | None  # of a streaming bundle; None in an offline one
    state: tuple[StateBuffer, ...]  # empty in an offline bundle
    conformance: FileRef
    quality: Quality | None
    training: Training | None
    licence: str
    parts: tuple[Part, ...] = ()

    @property
    def tells_change(self) -> bool:
        """Whether the block says how much it changed the map of each source."""
        return any(tensor.name == CHANGE for tensor in self.graphs.block.outputs)

    @property
    def unit(self) -> str:
        """What a budget is for: a ``window``, or a ``step`` of a streaming bundle."""
        return "window" if self.stream is None else "step"

    @property
    def step_s(self) -> float | None:
        """Seconds of a step where the bundle fixes them; None where a plan chooses the window."""
        return None if self.stream is None else self.stream.step_samples / self.sample_rate

    def lengths_s(self, asked_s: float | None = None) -> tuple[float, ...]:
        """Return the lengths of window or step to choose from, in rising order, or the one that is asked for.

        Raises OptionError for a length that the bundle cannot run.
        """
        if asked_s is None:
            return self.windows_s if self.step_s is None else (self.step_s,)
        if self.step_s is not None:
            raise OptionError("a streaming bundle has steps of fixed length; leave the window out")
        least_s, most_s = self.min_samples / self.sample_rate, WINDOW_STRETCH * self.windows_s[-1]
        if not least_s <= asked_s <= most_s:
            raise OptionError(
                f"the window must be from {least_s:g} to {most_s:g} s, not {asked_s:g}; "
                "the memory that it takes grows with its square"
            )
        return (asked_s,)

    def length_samples(self, length_s: float) -> int:
        """Return the samples of a window or step; a window's are even, so that its halves overlap exactly."""
        if self.stream is not None:
            return self.stream.step_samples
        return max(2, 2 * round(length_s * self.sample_rate / 2))

    def timing(self) -> dict[str, tuple[int, ...]]:
        """Return what the bundle's timing is made of in samples: its windows, or its step and latency."""
        if self.stream is None:
            return {"windows": tuple(self.length_samples(window_s) for window_s in self.windows_s)}
        return {"step": (self.stream.step_samples,), "latency": (self.stream.latency_samples,)}

    def advance_s(self, length_s: float) -> float:
        """Return how far a step advances from the one before: windows overlap by half."""
        return length_s / 2 if self.stream is None else length_s

    def quality_db(self, length_s: float) -> dict[int, float]:
        """Return the quality that was measured for a window or step, by depth."""
        if self.quality is None:
            return {}
        if self.stream is not None:
            return {entry.depth: entry.si_sdri_db for entry in self.quality.depths}
        return {e.depth: e.si_sdri_db for e in self.quality.windows if e.window_s == length_s}


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

    def files(self) -> list[FileRef]:
        """Return every file that the manifest names, graphs first."""
        graphs = [getattr(self.manifest.graphs, name) for name in GRAPHS]
        graphs += [part.graph for part in self.manifest.parts if part.name in PARTS and part.graph]
        return [file for graph in graphs for file in graph.files.values()] + [self.manifest.conformance]

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
    for file in bundle.files():
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


def parse_manifest(data: Any) -> Manifest:
    """Turn decoded JSON into a Manifest; raises BundleError that names the offending entry."""
    version = data.get("format") if isinstance(data, dict) else None
    if type(version) is int and version > FORMAT:
        raise BundleError(f"made for a newer tisdiss-rt (format {version}, this one reads {FORMAT}); upgrade")
    is_old = type(version) is int and version == 1
    manifest: Manifest = _parse(Manifest, _as_format_2(data) if is_old else data, "manifest")
    _check(manifest)
    return manifest


def _as_format_2(data: dict[str, Any]) -> dict[str, Any]:
    quality = data.get("quality")
    if "parts" in data or (isinstance(quality, dict) and "scenes" in quality):
        raise BundleError("parts and quality.scenes are unknown to format 1")
    if isinstance(quality, dict):
        data = {**data, "quality": {**quality, "scenes": []}}
    return {**data, "format": 2, "parts": []}


def _check(manifest: Manifest) -> None:
    """Raise BundleError where the entries have the right types but make no sense."""

    def need(condition: bool, message: str) -> None:
        if not condition:
            raise BundleError(message)

    need(manifest.format == FORMAT, f"unknown format {manifest.format}")
    need(manifest.kind in KINDS, f"unknown kind {manifest.kind!r}; there are {', '.join(KINDS)}")
    rate = manifest.sample_rate
    for name, least, most in (
        ("sample_rate", LEAST_HZ, MOST_HZ),
        ("sources", 1, MOST_SOURCES),
        ("min_samples", 1, LONGEST_S * rate),
    ):
        need(least <= getattr(manifest, name) <= most, f"{name} must be from {least} to {most}")
    _check_tensors(manifest, need)
    if manifest.kind == "streaming":
        _check_streaming(manifest, need)
    else:
        windows = manifest.windows_s
        need(
            bool(windows) and sorted(set(windows)) == list(windows) and len(windows) <= MOST_WINDOWS,
            f"windows_s must be up to {MOST_WINDOWS} numbers in rising order",
        )
        least_s = manifest.min_samples / rate
        need(
            least_s <= windows[0] and windows[-1] <= LONGEST_S,
            f"windows_s must be from min_samples, {least_s:g} s, to {LONGEST_S} s",
        )
        need(manifest.stream is None and not manifest.state, "stream and state are for streaming bundles")
    _check_depths(manifest, need)
    for part in manifest.parts:
        if part.name == VOICE:
            _check_voice(part, rate, need)
        if part.name == ESTIMATE:
            need(manifest.tells_change, "the part estimate needs the block's output change")
            _check_estimate(part.values, need)
        known_part = part.name in PARTS or not part.required
        need(known_part, f"needs the part {part.name!r}, which this tisdiss-rt does not know; upgrade")
    for file in Bundle(Path(), manifest).files():
        path = PurePosixPath(file.path)
        outside = path.is_absolute() or ".." in path.parts or set(file.path) & {"\\", ":"}
        need(bool(path.parts) and not outside, f"the path {file.path!r} leaves the bundle")


def _check_voice(part: Part, rate: int, need: Callable[[bool, str], None]) -> None:
    values = [part.values.get(key, ()) for key in ("hop", "same", "certainty")]
    complete = part.graph is not None and "fp32" in part.graph.files
    sensible = all(len(value) == 1 and 0 < value[0] < math.inf for value in values)
    need(complete and sensible, "the part voice must have a graph, hop, same and certainty")
    hop = values[0][0]
    need(hop == int(hop), "the hop of the part voice must be a whole number")
    need(hop <= LONGEST_HOP_S * rate, f"the hop of the part voice must be of at most {LONGEST_HOP_S} s")
    assert part.graph is not None
    inputs, outputs = ([tensor.name for tensor in each] for each in (part.graph.inputs, part.graph.outputs))
    fits = inputs == ["voices"] and outputs == ["prints", "weights"]
    shape = part.graph.outputs[0].shape if fits else ()
    is_sized = len(shape) == 3 and isinstance(shape[2], int) and shape[2] > 0
    need(is_sized, "the part voice must turn voices into prints and weights")


def _check_estimate(values: dict[str, tuple[float, ...]], need: Callable[[bool, str], None]) -> None:
    """Raise BundleError where the polynomials of an estimate are not complete."""
    sizes = {"interval": 2}
    for of, features, gives in (
        ("split", SPLIT_FEATURES, ("level", "spread")),
        ("repeated", REPEATED_FEATURES, ("level", "spread")),
        ("gain", GAIN_FEATURES, ("level",)),
    ):
        terms = 1 + features + features * (features + 1) // 2
        sizes |= {f"{of}.low": features, f"{of}.high": features, **{f"{of}.{each}": terms for each in gives}}
    for key, count in sizes.items():
        need(len(values.get(key, ())) == count, f"the part estimate must have {count} numbers in {key}")
    for of in ("split", "repeated", "gain"):
        rising = all(a < b for a, b in zip(values[f"{of}.low"], values[f"{of}.high"], strict=True))
        need(rising, f"the part estimate must have {of}.low below {of}.high")


def _check_tensors(manifest: Manifest, need: Callable[[bool, str], None]) -> None:
    """Raise BundleError where a graph takes what nothing gives, or a shape cannot be."""
    for name in GRAPHS:
        need("fp32" in getattr(manifest.graphs, name).files, f"graphs.{name}.files has no fp32")
    need("mix" in {t.name for t in manifest.graphs.stem.inputs}, "the stem must take mix")
    need("z" in {t.name for t in manifest.graphs.stem.outputs}, "the stem has no output z")
    need(bool(manifest.graphs.block.outputs), "the block has no output")
    need([t.name for t in manifest.graphs.decoder.outputs][:1] == ["est"], "the decoder's output must be est")
    known = {"mix"}
    for name in GRAPHS:
        graph = getattr(manifest.graphs, name)
        buffers = {buffer.input for buffer in manifest.state if buffer.graph == name}
        unknown = {t.name for t in graph.inputs} - known - buffers
        need(not unknown, f"inputs of {name} come from nowhere: {', '.join(sorted(unknown))}")
        if name == "stem":
            known |= {t.name for t in graph.outputs}
    for name in GRAPHS:
        graph = getattr(manifest.graphs, name)
        for tensor in (*graph.inputs, *graph.outputs):
            sizes = [size for size in tensor.shape if isinstance(size, int)]
            is_possible = 0 not in sizes and math.prod(sizes) <= MOST_NUMBERS
            need(is_possible, f"the shape of {tensor.name} must be of up to {MOST_NUMBERS} numbers")
    est = manifest.graphs.decoder.outputs[0].shape
    need(len(est) == 2 and est[0] == manifest.sources, "est must be (sources, samples)")
    mix = next(tensor.shape for tensor in manifest.graphs.stem.inputs if tensor.name == "mix")
    need(len(mix) == 2 and mix[0] == 1, "mix must be (1, samples)")
    change = [tensor.shape for tensor in manifest.graphs.block.outputs[1:] if tensor.name == CHANGE]
    need(change in ([], [(manifest.sources,)]), "change must be (sources,)")


def _check_depths(manifest: Manifest, need: Callable[[bool, str], None]) -> None:
    depth = manifest.depth
    need(
        0 <= depth.trained <= depth.max and 1 <= depth.max <= DEEPEST,
        f"depth must have 0 <= trained <= max, 1 <= max <= {DEEPEST}",
    )
    quality = manifest.quality
    if quality is not None:
        depths = [*quality.depths, *(entry for scene in quality.scenes for entry in scene.depths)]
        measured = [entry.depth for entry in depths] + [entry.depth for entry in quality.windows]
        is_possible = all(0 <= value <= depth.max for value in measured)
        need(is_possible, f"quality must be of depths from 0 to {depth.max}")


def _check_streaming(manifest: Manifest, need: Callable[[bool, str], None]) -> None:
    """Raise BundleError where step, latency or state make no sense."""
    stream = manifest.stream
    need(
        stream is not None
        and 0 < stream.step_samples <= stream.latency_samples <= LONGEST_S * manifest.sample_rate,
        f"stream must have 0 < step_samples <= latency_samples, at most {LONGEST_S} s",
    )
    assert stream is not None
    need(not manifest.windows_s, "windows_s is for offline bundles")
    _check_step_shapes(manifest, stream.step_samples, need)
    kept = 0  # numbers
    for buffer in manifest.state:
        need(buffer.graph in GRAPHS, f"unknown graph {buffer.graph!r} in state")
        graph: Graph = getattr(manifest.graphs, buffer.graph)
        shapes = {t.name: t.shape for t in graph.inputs}
        newest = {t.name: t.shape for t in graph.outputs}.get(buffer.newest, ())
        shape = shapes.get(buffer.input, ())
        need(
            bool(shape) and all(isinstance(size, int) and size > 0 for size in shape),
            f"state {buffer.input} must be an input of {buffer.graph} with a fixed shape",
        )
        need(0 <= buffer.axis < len(shape), f"state {buffer.input} has no axis {buffer.axis}")
        count = newest[buffer.axis] if len(newest) == len(shape) else 0
        begin, end = shape[: buffer.axis], shape[buffer.axis + 1 :]
        need(
            isinstance(count, int)
            and 0 < count <= int(shape[buffer.axis])
            and newest == (*begin, count, *end),
            f"state {buffer.input}: the output {buffer.newest!r} of {buffer.graph} cannot be appended to it",
        )
        repetitions = manifest.depth.max if buffer.graph == "block" else 1
        kept += repetitions * math.prod(int(size) for size in shape)
    need(kept <= MOST_NUMBERS, f"state must be of up to {MOST_NUMBERS} numbers, for all repetitions")


def _check_step_shapes(manifest: Manifest, step: int, need: Callable[[bool, str], None]) -> None:
    """Raise BundleError where a shape of a streaming bundle varies, or does not fit the others."""
    stem, block, decoder = (getattr(manifest.graphs, name) for name in GRAPHS)
    for graph in (stem, block, decoder):
        for tensor in (*graph.inputs, *graph.outputs):
            is_fixed = all(isinstance(size, int) for size in tensor.shape)
            need(is_fixed, f"{tensor.name} must have a fixed shape")
    shapes = {tensor.name: tensor.shape for tensor in (*stem.inputs, *stem.outputs)}
    need(shapes["mix"] == (1, step), "mix must be (1, step_samples)")
    need(decoder.outputs[0].shape == (manifest.sources, step), "est must be (sources, step_samples)")
    need(block.outputs[0].shape == shapes["z"], "the block's first output must have the shape of z")


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Convert JSON to a type of the schema: dataclasses, tuples, dicts, unions and plain values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(typing.cast(type, kind), value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_parse(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {
            _parse(str, key, where): _parse(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        chosen = next((a for a in arguments if type(value) is a), arguments[0])
        return _parse(chosen, value, where)
    if kind is float and type(value) is int and abs(value) < 1e300:
        value = float(value)
    if type(value) is kind and _is_portable(value):
        return value
    wanted = _WANTED.get(kind, getattr(kind, "__name__", kind))
    raise BundleError(f"{where} is {json.dumps(value)[:40]}, which is not {wanted}")


_WANTED = {int: f"a whole number from 0 to {MOST_INTEGER}", float: "a finite number", str: "a text"}


def _is_portable(value: Any) -> bool:
    """Return whether every language can hold a plain value: counts, finite numbers, valid text."""
    if type(value) is int:
        return 0 <= value <= MOST_INTEGER
    if type(value) is float:
        return math.isfinite(value)
    return not isinstance(value, str) or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


def _parse_dataclass(kind: type[_T], value: Any, where: str) -> _T:
    """Convert a JSON object to a dataclass that has exactly its keys."""
    if not isinstance(value, Mapping):
        raise BundleError(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    missing, unknown = hints.keys() - value.keys(), value.keys() - hints.keys()
    if missing:
        raise BundleError(f"{where} lacks {', '.join(sorted(missing))}")
    if unknown:
        raise BundleError(f"{where} has unknown {', '.join(sorted(unknown))}; known are {', '.join(hints)}")
    return kind(**{name: _parse(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})
