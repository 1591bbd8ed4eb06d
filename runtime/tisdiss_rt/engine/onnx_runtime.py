"""The graphs in ONNX Runtime: which provider runs them, and how they share the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import GRAPHS, Bundle, Graph
from tisdiss_rt.errors import BundleError, OptionError, ProviderError, first_line

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
os.environ.setdefault(NO_TELEMETRY, "1")  # which would be sent, and kept in the home folder
try:
    import onnxruntime as ort
except ModuleNotFoundError as missing:
    raise ProviderError(
        "ONNX Runtime is not installed: pip install 'tisdiss-rt[cpu]' (or [gpu])"
    ) from missing


VERSION: str = ort.__version__
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_OPTIONS = {
    # Every new length would otherwise start an exhaustive search for convolution algorithms.
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC"},
}
_ON_CUDA = (CUDA, "TensorrtExecutionProvider")  # tensors stay on the graphics card
_INSTALL = {CUDA: ": pip uninstall onnxruntime && pip install 'tisdiss-rt[gpu]'"}
_SHORT = {"dml": "directml"}  # where it is not the name without its end


class OrtGraph:
    """A graph in ONNX Runtime; errors as it raises them, which have no common base.

    Attribute ``provider`` is what really runs it, by ONNX Runtime's name.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        inputs, outputs = session.get_inputs(), session.get_outputs()
        self.inputs = [node.name for node in inputs]
        self.outputs = [node.name for node in outputs]
        self.shapes = {node.name: _shape_of(node) for node in (*inputs, *outputs)}
        self.provider: str = session.get_providers()[0]
        self._device = "cuda" if self.provider in _ON_CUDA else "cpu"

    def tensor(self, array: Array) -> Any:
        """See `OpenGraph`."""
        return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)

    def array(self, tensor: Any) -> Array:
        """See `OpenGraph`."""
        numbers: Array = tensor.numpy()
        return numbers

    def run(self, tensors: dict[str, Any], into: Any | None = None) -> dict[str, Any]:
        """See `OpenGraph`."""
        binding = self._session.io_binding()
        for name in self.inputs:
            binding.bind_ortvalue_input(name, tensors[name])
        for name in self.outputs:
            if into is not None and name == self.outputs[0]:
                binding.bind_ortvalue_output(name, into)
            else:
                binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        return dict(zip(self.outputs, binding.get_outputs(), strict=True))

    def handles(self) -> list[Any]:
        """See `OpenGraph`."""
        return [self._session]

    def run_arrays(self, arrays: dict[str, Array]) -> list[Array]:
        """See `OpenGraph`."""
        outputs: list[Array] = self._session.run(self.outputs, arrays)
        return outputs


def _shape_of(node: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor as `backends.Shape`; raises BundleError for other numbers than float32."""
    if node.type != "tensor(float)":
        raise BundleError(f"{node.name} is a {node.type}, where a tensor(float) is needed")
    sizes = tuple(size if isinstance(size, int) and size >= 0 else None for size in node.shape)
    return sizes or None  # ONNX Runtime says () where it knows nothing, too


def open_ort(content: bytes, providers: list[Any], threads: int, label: str) -> OrtGraph:
    """Open a graph that shares the machine with the other two; ``label`` is for errors.

    All graphs allocate from one arena, because only one of them runs at a time, and idle threads leave the
    cores to the graph that does. Memory is not planned per length, because lengths vary. Raises BundleError.
    """
    _register_arena()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3  # errors only
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        session = ort.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own exceptions have no common base
        if len(providers) > 1:  # its own fallback to the CPU prints on standard output
            print(f"tisdiss-rt: {first_line(error)}", file=sys.stderr)
            return open_ort(content, providers[-1:], threads, label)
        raise BundleError(f"ONNX Runtime cannot load the {label}: {first_line(error)}") from error
    return OrtGraph(session)


def open_graphs(
    execution_provider: str, bundle: Bundle, threads: int, precision: str, options: Mapping[str, str]
) -> dict[str, OrtGraph]:
    """Open the three graphs of a bundle with an execution provider, by ONNX Runtime's name for it.

    Raises BundleError, OptionError, or ProviderError where it is not there or does not start.
    """
    available = available_providers()
    if execution_provider not in available:
        raise ProviderError(
            f"{short_name(execution_provider)} is not available (ONNX Runtime has {', '.join(available)})"
            + _INSTALL.get(execution_provider, "")
        )
    if execution_provider == CPU and options:
        raise OptionError("the provider cpu has no options")
    providers: list[Any] = [(execution_provider, {**_OPTIONS.get(execution_provider, {}), **options})]
    if execution_provider != CPU:
        providers.append(CPU)  # for what it cannot run
    if execution_provider in _ON_CUDA and hasattr(ort, "preload_dlls"):
        ort.print = _print_on_stderr  # what it prints belongs to no result
        ort.preload_dlls()  # finds the CUDA libraries that pip installed
    graphs = {
        name: open_ort(bundle.read_graph(name, precision), providers, threads, f"{name} graph")
        for name in GRAPHS
    }
    if any(graph.provider != execution_provider for graph in graphs.values()):
        raise ProviderError(
            f"{short_name(execution_provider)} is installed for ONNX Runtime but does not start; see the "
            "lines above"
        )
    return graphs


def open_part(bundle: Bundle, graph: Graph, label: str) -> OrtGraph:
    """Open a further graph of a bundle, on one thread of the CPU: it is small. Raises BundleError."""
    return open_ort(bundle.read_onnx(graph.files["fp32"]), [CPU], 1, label)


def short_name(execution_provider: str) -> str:
    """Return what users call an execution provider: ``coreml`` for ``CoreMLExecutionProvider``."""
    short = execution_provider.removesuffix("ExecutionProvider").lower()
    return _SHORT.get(short, short)


def version_of(execution_provider: str) -> str | None:
    """Version of ONNX Runtime if it has the execution provider; None if not."""
    return VERSION if execution_provider in available_providers() else None


def available_providers() -> list[str]:
    """Return the execution providers of the installed ONNX Runtime, by ONNX Runtime's names."""
    return list(ort.get_available_providers())


def _print_on_stderr(*words: object) -> None:
    print(*words, file=sys.stderr)


@cache
def _register_arena() -> None:
    """Register one CPU arena for the process."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, -1, -1, -1))  # unlimited, all defaults
