"""What both kinds of engine have in common: the opened graphs, and the calls that the controller makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import GRAPHS, Bundle
from tisdiss_rt.engine.forks import leave_in_parent
from tisdiss_rt.engine.onnx_runtime import Graph, choose_providers, open_ort, physical_cores
from tisdiss_rt.engine.openvino import choose_precision, open_openvino
from tisdiss_rt.errors import BundleError, OptionError, ProviderError


class StepEngine(Protocol):
    """The steps of one signal, one after the other: a call for each graph.

    The calls of one step must not mix with those of another one of the same signal. If one raises, what the
    steps remember has to be reset.
    """

    def start(self, mix: Array) -> Any:
        """Run the stem."""

    def repeat(self, state: Any) -> None:
        """Run the block once."""

    def decode(self, state: Any) -> Array:
        """Run the decoder."""

    def reset(self) -> None:
        """Forget what earlier steps have left: the next step is the first."""


class Engine(ABC):
    """The opened graphs of a bundle, of either kind; `engine.open_engine` makes one.

    Args:
        bundle: what to run.
        provider: ``auto`` (CUDA where it works), ``cpu``, ``cuda`` or ``openvino``.
        threads: threads of the CPU; None is one for each physical core that this process may use.
        precision: ``auto``, or one that the bundle carries; of OpenVINO ``bf16`` or ``fp32``.

    Attributes ``provider``, ``threads`` and ``precision`` are what really runs.
    Raises BundleError, OptionError or ProviderError.
    """

    KIND = ""  # of the bundles that the class runs
    delay_samples = 0  # by which the estimate of a step is behind its mixture

    def __init__(
        self, bundle: Bundle, provider: str = "auto", threads: int | None = None, precision: str = "auto"
    ) -> None:
        manifest = bundle.manifest
        if manifest.kind != self.KIND:
            raise BundleError(f"bundle {manifest.name} is {manifest.kind}, where {self.KIND} is needed")
        if threads is not None and threads < 1:
            raise OptionError(f"threads must be at least 1, not {threads}")
        self.manifest = manifest
        self.threads = threads or physical_cores()
        self._graphs: dict[str, Graph]
        if provider == "openvino":
            self.provider, self.precision = provider, choose_precision(precision)
            self._graphs = open_openvino(bundle, self.threads, self.precision)
        else:
            self.precision = bundle.choose_precision(precision)
            self.provider = self._open_ort(bundle, provider)
        self._check_names()
        if self.threads > 1 or self.provider != "cpu":
            leave_in_parent(self)

    @abstractmethod
    def open(self, max_depth: int) -> StepEngine:
        """Begin a signal whose steps run at most ``max_depth`` repetitions; many may run side by side."""

    @abstractmethod
    def every_depth(self, mix: Array, deepest: int) -> list[Array]:
        """Separate a whole mixture (n,) at each depth from 0 to ``deepest``: estimates (sources, n)."""

    @abstractmethod
    def cut(self, mix: Array) -> Sequence[Array]:
        """Return the steps that separate a whole mixture (n,)."""

    @abstractmethod
    def join(self, estimates: Sequence[Array], samples: int) -> Array:
        """Return the estimate (sources, samples) of a whole mixture from those of the steps of `cut`."""

    def _open_ort(self, bundle: Bundle, provider: str) -> str:
        """Open the graphs in ONNX Runtime; gives the provider that really runs."""
        providers = choose_providers(provider)
        graphs = {
            name: open_ort(bundle.read_graph(name, self.precision), providers, self.threads, f"{name} graph")
            for name in GRAPHS
        }
        on_cuda = all(graph.on_cuda for graph in graphs.values())
        if provider == "cuda" and not on_cuda:
            raise ProviderError("CUDA is installed for ONNX Runtime but does not start; see the lines above")
        self._graphs = {**graphs}
        return "cuda" if on_cuda else "cpu"

    def _check_names(self) -> None:
        """Raise BundleError if a graph does not have the tensors that the manifest says."""
        for name, graph in self._graphs.items():
            specs = getattr(self.manifest.graphs, name)
            for has, expected in ((graph.inputs, specs.inputs), (graph.outputs, specs.outputs)):
                says = [spec.name for spec in expected]
                if has != says:
                    raise BundleError(f"the {name} graph has {has} where the manifest says {says}")
