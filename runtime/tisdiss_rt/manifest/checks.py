"""Refuses manifests whose entries have the right types but make no sense."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePosixPath

from tisdiss_rt.errors import BundleError
from tisdiss_rt.manifest.limits import (
    DEEPEST,
    LEAST_HZ,
    LONGEST_HOP_S,
    LONGEST_S,
    MOST_HZ,
    MOST_NUMBERS,
    MOST_SOURCES,
    MOST_WINDOWS,
)
from tisdiss_rt.manifest.schema import (
    CHANGE,
    ESTIMATE,
    FORMAT,
    GAIN_FEATURES,
    GRAPHS,
    KINDS,
    PARTS,
    REPEATED_FEATURES,
    SPLIT_FEATURES,
    VOICE,
    Graph,
    Manifest,
    Part,
)


def check(manifest: Manifest) -> None:
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
    _check_parts(manifest, need)
    for file in manifest.files():
        path = PurePosixPath(file.path)
        outside = path.is_absolute() or ".." in path.parts or set(file.path) & {"\\", ":"}
        need(bool(path.parts) and not outside, f"the path {file.path!r} leaves the bundle")


def _check_parts(manifest: Manifest, need: Callable[[bool, str], None]) -> None:
    names = [part.name for part in manifest.parts]
    need(len(set(names)) == len(names), "parts must have different names")
    for part in manifest.parts:
        if part.name == VOICE:
            _check_voice(part, manifest.sample_rate, need)
        if part.name == ESTIMATE:
            need(manifest.tells_change, "the part estimate needs the block's output change")
            _check_estimate(part.values, manifest.kind, need)
        known_part = part.name in PARTS or not part.required
        need(known_part, f"needs the part {part.name!r}, which this tisdiss-rt does not know; upgrade")


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


def _check_estimate(
    values: dict[str, tuple[float, ...]], kind: str, need: Callable[[bool, str], None]
) -> None:
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
    if "alone" in values:
        need(kind == "offline", "the part estimate must have no numbers in alone for streams")
        need(len(values["alone"]) == 2, "the part estimate must have 2 numbers in alone")
        need(min(values["alone"]) > 0, "the part estimate must have numbers above 0 in alone")


def _check_tensors(manifest: Manifest, need: Callable[[bool, str], None]) -> None:
    """Raise BundleError where a graph takes what nothing gives, or a shape cannot be."""
    for name in GRAPHS:
        need("fp32" in getattr(manifest.graphs, name).files, f"graphs.{name}.files has no fp32")
    need("mix" in {t.name for t in manifest.graphs.stem.inputs}, "the stem must take mix")
    need("z" in {t.name for t in manifest.graphs.stem.outputs}, "the stem has no output z")
    newest = [tensor.name for tensor in manifest.graphs.block.outputs[:1]]
    need(newest not in ([], [CHANGE]), "the block's first output must be the next z")
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
