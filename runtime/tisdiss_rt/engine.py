"""The three graphs in ONNX Runtime, one call per graph, so that a budget can be kept between repetitions.

The feature map stays where the provider has it. Two buffers take turns as the block's input and output, and
nothing passes through numpy between the mixture and the estimate::

    mix ──> stem ──> A ──block──> B ──block──> A ──block──> B ──> decoder ──> est
                     └──── other outputs of the stem, used by name ────┘
"""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tisdiss_rt.bundle import GRAPHS, Bundle
from tisdiss_rt.errors import BundleError, OptionError, ProviderError

try:
    import onnxruntime as ort
except ModuleNotFoundError as missing:
    raise ProviderError(
        "ONNX Runtime is not installed: pip install 'tisdiss-rt[cpu]' (or [gpu])"
    ) from missing

Array = npt.NDArray[np.float32]

VERSION: str = ort.__version__
PROVIDERS = ("auto", "cpu", "cuda")
_CUDA = "CUDAExecutionProvider"
# Every new length would otherwise start an exhaustive search for convolution algorithms.
_CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC"}


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
        provider: ``auto`` (CUDA where it works), ``cpu`` or ``cuda``.
        threads: threads of the CPU; None is one for each physical core that this process may use.
        precision: ``auto``, or one that the bundle carries.

    Attributes ``provider`` (``cpu`` or ``cuda``), ``threads`` and ``precision`` are what really runs.
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
        self.precision = bundle.choose_precision(precision)
        with redirect_stdout(sys.stderr):  # where ONNX Runtime prints that CUDA does not start
            providers = choose_providers(provider)
            self._sessions = {
                name: _open(bundle.read_graph(name, self.precision), providers, self.threads, f"{name} graph")
                for name in GRAPHS
            }
        on_cuda = all(session.get_providers()[0] == _CUDA for session in self._sessions.values())
        if provider == "cuda" and not on_cuda:
            raise ProviderError("CUDA is installed for ONNX Runtime but does not start; see the lines above")
        self.provider = "cuda" if on_cuda else "cpu"
        self._check_names()

    def _check_names(self) -> None:
        """Raise BundleError if a graph does not have the tensors that the manifest says."""
        for name, session in self._sessions.items():
            graph = getattr(self.manifest.graphs, name)
            for nodes, specs in (
                (session.get_inputs(), graph.inputs),
                (session.get_outputs(), graph.outputs),
            ):
                has, says = [node.name for node in nodes], [spec.name for spec in specs]
                if has != says:
                    raise BundleError(f"the {name} graph has {has} where the manifest says {says}")


class Engine(Sessions):
    """The graphs of an offline bundle, ready to run; arguments, attributes and errors as `Sessions`."""

    KIND = "offline"

    def start(self, mix: Array) -> State:
        """Run the stem on ``mix`` (samples,); a mixture shorter than the bundle's minimum is padded."""
        batch = np.zeros((1, max(len(mix), self.manifest.min_samples)), np.float32)
        batch[0, : len(mix)] = mix
        tensors = {"mix": ort.OrtValue.ortvalue_from_numpy(batch, self.provider, 0)}
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
        estimate: Array = output.numpy()[:, : state.samples]
        if not np.isfinite(estimate).all():
            raise BundleError(f"bundle {self.manifest.name} gave NaN or infinity at depth {state.depth}")
        return estimate

    def _run(self, graph: str, tensors: dict[str, Any], into: Any | None = None) -> dict[str, Any]:
        """Run a graph with inputs found by name; the first output goes to ``into`` if that is given."""
        session = self._sessions[graph]
        binding = session.io_binding()
        for node in session.get_inputs():
            binding.bind_ortvalue_input(node.name, tensors[node.name])
        names = [node.name for node in session.get_outputs()]
        for name in names:
            if into is not None and name == names[0]:
                binding.bind_ortvalue_output(name, into)
            else:
                binding.bind_output(name, self.provider)
        try:
            session.run_with_iobinding(binding)
        except Exception as error:  # ONNX Runtime's own exceptions have no common base
            raise BundleError(f"the {graph} graph failed: {first_line(error)}") from error
        return dict(zip(names, binding.get_outputs(), strict=True))


def choose_providers(provider: str) -> list[Any]:
    """Return ONNX Runtime's provider list; raises OptionError or ProviderError, naming what there is."""
    if provider not in PROVIDERS:
        raise OptionError(f"unknown provider {provider!r}; there are {', '.join(PROVIDERS)}")
    available = available_providers()
    if provider == "cuda" and _CUDA not in available:
        raise ProviderError(
            f"CUDA is not available (ONNX Runtime has {', '.join(available)}): "
            "pip uninstall onnxruntime && pip install 'tisdiss-rt[gpu]'"
        )
    if provider == "cpu" or _CUDA not in available:
        return ["CPUExecutionProvider"]
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds the CUDA libraries that pip installed
    return [(_CUDA, _CUDA_OPTIONS), "CPUExecutionProvider"]


def available_providers() -> list[str]:
    """Execution providers of the installed ONNX Runtime, by its names for them."""
    return list(ort.get_available_providers())


def physical_cores() -> int:
    """Number of physical cores that this process may run on; of logical ones outside Linux."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    usable = os.sched_getaffinity(0)
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(siblings.format(cpu)).read_text() for cpu in usable})
    except OSError:  # hidden in some containers
        return len(usable)


def _open(content: bytes, providers: list[Any], threads: int, label: str) -> Any:
    """Make a session that shares the machine with the other two.

    All graphs allocate from one arena, because only one of them runs at a time, and idle threads leave the
    cores to the graph that does. Memory is not planned per length, because lengths vary.
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
        return ort.InferenceSession(content, options, providers=providers)
    except Exception as error:  # as above
        raise BundleError(f"ONNX Runtime cannot load the {label}: {first_line(error)}") from error


@cache
def _register_arena() -> None:
    """Give the process one arena for the CPU."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, -1, -1, -1))  # unlimited, all defaults


def first_line(error: Exception) -> str:
    """Return what an exception says, shortened to one line."""
    return (str(error).splitlines() or [type(error).__name__])[0]
