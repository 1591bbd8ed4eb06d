"""The graphs of a bundle, opened, and run one call at a time, by whichever provider."""

from tisdiss_rt.bundle import Bundle
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.engine.streaming import StreamingEngine


def open_engine(
    bundle: Bundle, provider: str = "auto", threads: int | None = None, precision: str = "auto"
) -> OfflineEngine | StreamingEngine:
    """Open a bundle of either kind; arguments and errors as `Engine`."""
    kind = StreamingEngine if bundle.manifest.kind == "streaming" else OfflineEngine
    return kind(bundle, provider, threads, precision)
