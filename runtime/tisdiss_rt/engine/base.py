"""The common part of both kinds of engine: the opened graphs, and the calls that the controller makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import Bundle, Graph
from tisdiss_rt.engine.backends import Shape, open_graphs
from tisdiss_rt.engine.cores import physical_cores
from tisdiss_rt.engine.forks import leave_in_parent
from tisdiss_rt.errors import BundleError, OptionError, is_whole

MOST_THREADS = 256  # each takes memory, and no graph has work for so many


class StepEngine(Protocol):
    """The steps of one signal, one after the other: a call for each graph.

    The calls of one step must not mix with those of another one of the same signal. If one raises, what the
    steps remember has to be reset.
    """

    def start(self, mix: Array) -> Any:
        """Run the stem."""

    def repeat(self, state: Any) -> None:
        """Run the block once."""

    def change(self, state: Any) -> Array:
        """Return how much the last repetition changed the map of each source (sources,).

        Only of bundles that tell it, see `bundle.Graphs`.
        """

    def decode(self, state: Any) -> Array:
        """Run the decoder."""

    def reset(self) -> None:
        """Clear the state of earlier steps: the next step is the first."""


class Engine(ABC):
    """The opened graphs of a bundle, of either kind; `engine.open_engine` makes one.

    Args:
        bundle: what to run.
        provider: ``auto``, or one of `backends`.
        threads: number of CPU threads; None means one per physical core that this process may use.
        precision: ``auto``, or one in which the provider runs the bundle.
        provider_options: of the provider, by its own names for them.

    Attributes ``provider``, ``threads`` and ``precision`` are what really runs; ``backend`` is the provider's
    entry in the table.
    Raises BundleError, OptionError or ProviderError.
    """

    KIND = ""  # of the bundles that the class runs
    delay_samples = 0  # by which the estimate of a step is behind its mixture

    def __init__(
        self,
        bundle: Bundle,
        provider: str = "auto",
        threads: int | None = None,
        precision: str = "auto",
        provider_options: Mapping[str, str] | None = None,
    ) -> None:
        manifest = bundle.manifest
        if manifest.kind != self.KIND:
            raise BundleError(f"bundle {manifest.name} is {manifest.kind}, where {self.KIND} is needed")
        if threads is not None and not is_whole(threads, 1, MOST_THREADS):
            raise OptionError(f"threads must be from 1 to {MOST_THREADS}, not {threads}")
        self.manifest = manifest
        self.threads = int(threads or physical_cores())
        self.provider_options = dict(provider_options or {})
        opened = open_graphs(bundle, provider, self.threads, precision, self.provider_options)
        self.backend, self.precision = opened.backend, opened.precision
        self._graphs = dict(opened.graphs)
        self.provider = self.backend.name
        self._check_tensors()
        if self.threads > 1 or self.provider != "cpu":
            leave_in_parent(self)

    @abstractmethod
    def open(self, max_depth: int) -> StepEngine:
        """Begin a signal whose steps run at most ``max_depth`` repetitions; many may run side by side."""

    @abstractmethod
    def every_depth(self, mix: Array, deepest: int, changes: list[Array] | None = None) -> list[Array]:
        """Separate a whole mixture (n,) at each depth from 0 to ``deepest``: estimates (sources, n).

        With ``changes``, of bundles that tell them, adds to it what each repetition of a step changed:
        (deepest, sources).
        """

    @abstractmethod
    def cut(self, mix: Array) -> Sequence[Array]:
        """Return the steps that separate a whole mixture (n,)."""

    @abstractmethod
    def join(self, estimates: Sequence[Array], samples: int) -> Array:
        """Return the estimate (sources, samples) of a whole mixture from those of the steps of `cut`."""

    def _check_tensors(self) -> None:
        """Raise BundleError if a graph does not have the tensors that the manifest says."""
        for name, graph in self._graphs.items():
            specs: Graph = getattr(self.manifest.graphs, name)
            for has, expected in ((graph.inputs, specs.inputs), (graph.outputs, specs.outputs)):
                says = [spec.name for spec in expected]
                if has != says:
                    raise BundleError(f"the {name} graph has {has} where the manifest lists {says}")
            for spec in (*specs.inputs, *specs.outputs):
                if not _agree(graph.shapes[spec.name], spec.shape):
                    raise BundleError(
                        f"{spec.name} of the {name} graph has the shape {graph.shapes[spec.name]} where the "
                        f"manifest lists {spec.shape}"
                    )


def _agree(shape: Shape, listed: tuple[int | str, ...]) -> bool:
    """Return whether the shapes may be the same; None is what a graph does not know before it runs."""
    if shape is None:
        return True
    sizes = zip(shape, listed, strict=False)
    return len(shape) == len(listed) and all(
        has == says for has, says in sizes if isinstance(says, int) and has is not None
    )
