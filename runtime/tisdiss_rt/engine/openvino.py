"""The graphs in OpenVINO, which multiplies in bfloat16 where the processor can: ``pip install openvino``.

It reads the same ONNX files. What goes from graph to graph stays 32-bit floats.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import GRAPHS, Bundle
from tisdiss_rt.errors import BundleError, ProviderError, first_line

PRECISIONS = {"bf16": "bf16", "fp32": "f32"}


class OpenVinoGraph:
    """An opened graph, as `backends.OpenGraph`; its tensors are arrays.

    Args:
        compiled: the graph in OpenVINO.
        known: names of tensors; some tensors have others beside.
    """

    def __init__(self, compiled: Any, known: set[str]) -> None:
        self._compiled, self._requests = compiled, threading.local()

        def names(ports: Any) -> list[str]:
            return [next(iter(known & port.get_names()), port.get_any_name()) for port in ports]

        self.inputs, self.outputs = names(compiled.inputs), names(compiled.outputs)
        ports = zip((*self.inputs, *self.outputs), (*compiled.inputs, *compiled.outputs), strict=True)
        self.shapes = {name: _shape_of(port) for name, port in ports}

    def tensor(self, array: Array) -> Array:
        """See `OpenGraph`."""
        return array

    def array(self, tensor: Array) -> Array:
        """See `OpenGraph`."""
        return tensor

    def run(self, tensors: dict[str, Array], into: Array | None = None) -> dict[str, Array]:
        """See `OpenGraph`; ``into`` is not used, as the outputs are copies."""
        return dict(zip(self.outputs, self.run_arrays(tensors), strict=True))

    def handles(self) -> list[Any]:
        """See `OpenGraph`."""
        request = getattr(self._requests, "own", None)
        return [self._compiled] if request is None else [self._compiled, request]

    def run_arrays(self, arrays: dict[str, Array]) -> list[Array]:
        """See `OpenGraph`."""
        if not hasattr(self._requests, "own"):  # a request is for one thread at a time
            self._requests.own = self._compiled.create_infer_request()
        results = self._requests.own.infer({name: arrays[name] for name in self.inputs}, share_inputs=True)
        return [results[port] for port in self._compiled.outputs]


def _shape_of(port: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor as `backends.Shape`; raises BundleError for other numbers than float32."""
    if port.get_element_type().get_type_name() != "f32":
        raise BundleError(f"{port.get_any_name()} is not of 32-bit floats")
    shape = port.get_partial_shape()
    if shape.rank.is_dynamic:
        return None
    return tuple(size.get_length() if size.is_static else None for size in shape)


def precisions(bundle: Bundle) -> tuple[str, ...]:
    """Return ``bf16`` and ``fp32``, or the latter alone where the processor has no bfloat16.

    Raises ProviderError without OpenVINO.
    """
    has_bf16 = "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("bf16", "fp32") if has_bf16 else ("fp32",)


def open_graphs(
    bundle: Bundle, threads: int, precision: str, options: Mapping[str, str]
) -> dict[str, OpenVinoGraph]:
    """Open the three graphs. Raises BundleError, ProviderError without OpenVINO.

    Only the block, where the work is, runs in bfloat16: spectra and masks need all their digits, and rounding
    in the stem alone costs ten decibels of signal-to-noise ratio.
    """
    core = _core()
    graphs = {}
    for name in GRAPHS:
        properties = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision if name == "block" else "fp32"],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            **options,
        }
        model = bundle.read_graph(name, "fp32")
        graph = getattr(bundle.manifest.graphs, name)
        known = {spec.name for spec in graph.inputs + graph.outputs}
        try:
            graphs[name] = OpenVinoGraph(core.compile_model(core.read_model(model), "CPU", properties), known)
        except RuntimeError as error:
            raise BundleError(f"OpenVINO cannot load the {name} graph: {first_line(error)}") from error
    return graphs


def installed_version() -> str | None:
    """Return the version of OpenVINO; None without it."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def _core() -> Any:
    try:
        with _without_telemetry():
            from openvino import Core
    except ModuleNotFoundError as missing:
        raise ProviderError("OpenVINO is not installed: pip install 'tisdiss-rt[openvino]'") from missing
    except (ImportError, OSError) as error:
        raise ProviderError(f"OpenVINO is installed but does not load: {first_line(error)}") from error
    return Core()


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """Import OpenVINO as where its telemetry is not installed; else a process reports every import of it."""
    name = "openvino_telemetry"
    hidden = name not in sys.modules  # otherwise the program around has decided
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            sys.modules.pop(name, None)
