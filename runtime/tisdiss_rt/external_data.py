"""Refuses graphs that keep data in other files: ONNX Runtime would read any file that they name.

Of the protocol buffers of ONNX (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3), only the way to
every tensor is followed.
"""

from __future__ import annotations

from collections.abc import Iterator

from tisdiss_rt.errors import BundleError

# For each message the fields that are, or hold, tensors.
FIELDS: dict[str, dict[int, str]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto",
        6: "GraphProto",
        10: "TensorProto",
        11: "GraphProto",
        22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of TensorProto
MOST_NESTED = 100
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def refuse_external_data(graph: bytes, label: str) -> None:
    """Raise BundleError if a tensor of an ONNX file is kept elsewhere, or if that cannot be told."""
    try:
        is_external = _has_external_data(memoryview(graph), "ModelProto", 0)
    except (IndexError, ValueError) as error:
        raise BundleError(f"{label} is not an ONNX file: {error}") from error
    if is_external:
        raise BundleError(f"{label} keeps data in other files, which is refused: export it into one file")


def _has_external_data(message: memoryview, kind: str, level: int) -> bool:
    if level > MOST_NESTED:
        raise ValueError("too deeply nested")
    for field, value in _fields(message):
        if kind == "TensorProto" and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value != 0)):
            return True
        inner = FIELDS[kind].get(field)
        if inner is not None:
            if isinstance(value, int):
                raise ValueError(f"field {field} of {kind} is no message")
            if _has_external_data(value, inner, level + 1):
                return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field: its bytes, or a number for the other wire types."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag >> 32:  # protocol buffers would drop what is above
            raise ValueError("a tag too large")
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            number, at = _varint(message, at)
            yield field, number
            continue
        if wire == _BYTES:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if size > len(message) - at:
            raise ValueError("cut off")
        yield field, message[at : at + size] if wire == _BYTES else 0
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that starts at a place, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise ValueError("a number too long")
