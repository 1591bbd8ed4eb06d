"""The graphs of a bundle, opened, and run one call at a time, by whichever provider."""

from collections.abc import Mapping

from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.engine.streaming import StreamingEngine


def open_engine(
    bundle: Bundle,
    provider: str = "auto",
    threads: int | None = None,
    precision: str = "auto",
    provider_options: Mapping[str, str] | None = None,
) -> Engine:
    """Open a bundle of either kind; arguments and errors as `Engine`."""
    kinds: dict[str, type[Engine]] = {kind.KIND: kind for kind in (OfflineEngine, StreamingEngine)}
    return kinds[bundle.manifest.kind](bundle, provider, threads, precision, provider_options)
