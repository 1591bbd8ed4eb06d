"""Turn trained networks into bundles: three ONNX graphs, a manifest, and proof that they agree."""

from .exporter import ExportError, add_precision, export_bundle

__all__ = ["ExportError", "add_precision", "export_bundle"]
