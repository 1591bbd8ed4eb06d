"""The schema of a manifest, as dataclasses.

Format 2 has, beyond format 1, the quality per scene and optional parts (`Part`). Manifests of format 1 are
read as manifests of format 2 that have neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from tisdiss_rt.errors import OptionError

FORMAT = 2
GRAPHS = ("stem", "block", "decoder")
KINDS = ("offline", "streaming")
CHANGE = "change"  # output of the block
WINDOW_STRETCH = 4  # by which a window may be longer than the longest of the manifest


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

    def files(self) -> list[FileRef]:
        """Return every file that a runtime may read, graphs first."""
        graphs = [getattr(self.graphs, name) for name in GRAPHS]
        graphs += [part.graph for part in self.parts if part.name in PARTS and part.graph]
        return [file for graph in graphs for file in graph.files.values()] + [self.conformance]
