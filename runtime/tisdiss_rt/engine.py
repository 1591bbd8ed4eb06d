"""The three graphs of a bundle, one call per graph, so that a budget can be kept between repetitions.

The feature map stays where the provider has it. Two buffers take turns as the block's input and output, and
nothing passes through numpy between the mixture and the estimate::

    mix ──> stem ──> A ──block──> B ──block──> A ──block──> B ──> decoder ──> est
                     └──── other outputs of the stem, used by name ────┘
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tisdiss_rt.bundle import GRAPHS, Bundle
from tisdiss_rt.errors import BundleError, OptionError, ProviderError
from tisdiss_rt.graphs import Graph, choose_providers, first_line, open_ort, physical_cores
from tisdiss_rt.openvino_graph import choose_precision, open_openvino

Array = npt.NDArray[np.float32]


@dataclass
class State:
    """A step under way: tensors by name, on the provider's device. ``z`` is the current feature map."""

    tensors: dict[str, Any]
    spare: Any | None  # the buffer that the next repetition writes to
    depth: int
    samples: int


class Sessions:
    """The opened graphs of a bundle, of either kind.

    Args:
        bundle: what to run.
        provider: ``auto`` (CUDA where it works), ``cpu``, ``cuda`` or ``openvino``.
        threads: threads of the CPU; None is one for each physical core that this process may use.
        precision: ``auto``, or one that the bundle carries; of OpenVINO ``bf16`` or ``fp32``.

    Attributes ``provider``, ``threads`` and ``precision`` are what really runs.
    Raises BundleError, OptionError or ProviderError.
    """

    KIND = ""  # of the bundles that the class runs

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

    def _open_ort(self, bundle: Bundle, provider: str) -> str:
        """Open the graphs in ONNX Runtime; gives the provider that really runs."""
        with redirect_stdout(sys.stderr):  # where ONNX Runtime prints that CUDA does not start
            providers = choose_providers(provider)
            graphs = {
                name: open_ort(
                    bundle.read_graph(name, self.precision), providers, self.threads, f"{name} graph"
                )
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


class Engine(Sessions):
    """The graphs of an offline bundle, ready to run; arguments, attributes and errors as `Sessions`."""

    KIND = "offline"

    def start(self, mix: Array) -> State:
        """Run the stem on ``mix`` (samples,); a mixture shorter than the bundle's minimum is padded."""
        batch = np.zeros((1, max(len(mix), self.manifest.min_samples)), np.float32)
        batch[0, : len(mix)] = mix
        tensors = {"mix": self._graphs["stem"].tensor(batch)}
        tensors.update(self._run("stem", tensors))
        return State(tensors, None, 0, len(mix))

    def repeat(self, state: State) -> None:
        """Run the block once: ``state`` is one repetition deeper afterwards."""
        outputs = self._run("block", state.tensors, state.spare)
        state.spare = state.tensors["z"]
        state.tensors["z"] = next(iter(outputs.values()))
        state.depth += 1

    def decode(self, state: State) -> Array:
        """Run the decoder: the estimate (sources, samples) at the depth reached so far.

        Raises BundleError if the network gave NaN or infinity.
        """
        (output,) = self._run("decoder", state.tensors).values()
        estimate = self._graphs["decoder"].array(output)[:, : state.samples]
        if estimate.shape != (self.manifest.sources, state.samples):
            raise BundleError(
                f"bundle {self.manifest.name} gave {estimate.shape} where its manifest says "
                f"{(self.manifest.sources, state.samples)}"
            )
        if not np.isfinite(estimate).all():
            raise BundleError(f"bundle {self.manifest.name} gave NaN or infinity at depth {state.depth}")
        return estimate

    def _run(self, graph: str, tensors: dict[str, Any], into: Any | None = None) -> dict[str, Any]:
        """Run a graph with inputs found by name; the first output goes to ``into`` if that is given."""
        try:
            return self._graphs[graph].run(tensors, into)
        except Exception as error:  # what runs them has no common base for its exceptions
            raise BundleError(f"the {graph} graph failed: {first_line(error)}") from error
