"""The ways to run the graphs of a bundle: one table, in which a provider is one entry.

Beyond the table, any execution provider that the installed ONNX Runtime lists is passed through by its name.
What it cannot run, ONNX Runtime runs on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

from tisdiss_rt.audio import Array
from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine import onnx_runtime, openvino
from tisdiss_rt.errors import OptionError, ProviderError

TOLERANCE = 1e-4  # of the peak, between what the exporter computed and what runs
COARSE_TOLERANCE = 2e-3  # of accelerators, whose convolutions round to 10 bits of mantissa


# Of a tensor: None where a graph does not know it, for a size or for all, before it runs.
Shape = tuple[int | None, ...] | None


class OpenGraph(Protocol):
    """An opened graph; its tensors are of a kind of their own, which may be on a device.

    Attributes ``inputs`` and ``outputs`` are the names, ``shapes`` their shapes.
    """

    inputs: list[str]
    outputs: list[str]
    shapes: dict[str, Shape]

    def tensor(self, array: Array) -> Any:
        """Make a tensor of an array."""

    def array(self, tensor: Any) -> Array:
        """Return the array of a tensor."""

    def run(self, tensors: dict[str, Any], into: Any | None = None) -> dict[str, Any]:
        """Run on those of the tensors that are inputs; the first output goes ``into`` a tensor, if given."""

    def run_arrays(self, arrays: dict[str, Array]) -> list[Array]:
        """Run on arrays, for steps so short that tensors are not worth their trouble."""

    def handles(self) -> list[Any]:
        """Return what would wait for the graph's threads if it were to end."""


@dataclass(frozen=True)
class Backend:
    """A provider.

    Attributes:
        name: as ``--provider`` takes it.
        version: returns the version of what is installed for it; None where nothing is.
        precisions: returns those in which it runs a bundle here, the one to prefer first.
        open: opens the three graphs, by name, with so many threads, in a precision, with options of its own.
            Raises ProviderError where it is not available.
        tolerance: by how much of the peak the bundle's example may differ.
        is_preferred: ``auto`` takes it wherever it starts, without comparing it with others.
    """

    name: str
    version: Callable[[], str | None]
    precisions: Callable[[Bundle], tuple[str, ...]]
    open: Callable[[Bundle, int, str, Mapping[str, str]], Mapping[str, OpenGraph]]
    tolerance: float = TOLERANCE
    is_preferred: bool = False

    def choose_precision(self, bundle: Bundle, precision: str) -> str:
        """Return the precision to run; ``auto`` is the preferred one.

        Raises OptionError, listing what there is, for one that there is not.
        """
        there = self.precisions(bundle)
        if precision == "auto":
            return there[0]
        if precision not in there:
            raise OptionError(
                f"bundle {bundle.manifest.name} has no precision {precision!r}, only {', '.join(there)}, "
                f"with the provider {self.name} on this machine"
            )
        return precision


def _of_onnx_runtime(name: str, execution_provider: str, **others: Any) -> Backend:
    return Backend(
        name=name,
        version=partial(onnx_runtime.version_of, execution_provider),
        precisions=Bundle.precisions,
        open=partial(onnx_runtime.open_graphs, execution_provider),
        **others,
    )


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        _of_onnx_runtime("cpu", onnx_runtime.CPU),
        _of_onnx_runtime("cuda", onnx_runtime.CUDA, tolerance=COARSE_TOLERANCE, is_preferred=True),
        Backend("openvino", openvino.installed_version, openvino.precisions, openvino.open_graphs),
    )
}


class Opened(NamedTuple):
    """The graphs by name, and what runs them."""

    backend: Backend
    precision: str
    graphs: Mapping[str, OpenGraph]


def open_graphs(
    bundle: Bundle, provider: str, threads: int, precision: str, options: Mapping[str, str]
) -> Opened:
    """Open the graphs of a bundle; ``auto`` is a preferred provider that starts, else the CPU.

    Raises BundleError, OptionError or ProviderError.
    """

    def opened(backend: Backend) -> Opened:
        chosen = backend.choose_precision(bundle, precision)
        return Opened(backend, chosen, backend.open(bundle, threads, chosen, options))

    if provider != "auto":
        return opened(find(provider))
    if options:
        raise OptionError("options of a provider need the provider: name it, too")
    for backend in BACKENDS.values():
        if backend.is_preferred and backend.version() is not None:
            with suppress(ProviderError):
                return opened(backend)
    return opened(BACKENDS["cpu"])


def find(provider: str) -> Backend:
    """Find a provider by its name in the table, or one of ONNX Runtime by either of its names.

    Raises OptionError, listing what there is.
    """
    if provider in BACKENDS:
        return BACKENDS[provider]
    others = {onnx_runtime.short_name(full): full for full in onnx_runtime.available_providers()}
    for short, full in others.items():
        if provider in (short, full):
            return _of_onnx_runtime(short, full, tolerance=COARSE_TOLERANCE)
    there = ", ".join(dict.fromkeys(("auto", *BACKENDS, *others)))
    raise OptionError(f"unknown provider {provider!r}; there are {there}")
