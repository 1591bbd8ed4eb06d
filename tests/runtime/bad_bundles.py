"""Bundles that no language may open: what is changed of a good one, and a word of the error.

Each entry edits a folder with one of the toy bundles. The same lists go through all languages, and so do
parts of bundles to come, which all must open.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper
from toys import toy_estimate

from tisdiss_rt import bundle as bundles

Edit = Callable[[Path], object]


def edited(change: Callable[[dict[str, Any]], object]) -> Edit:
    """Change the manifest as JSON has it."""

    def edit(folder: Path) -> None:
        path = folder / "manifest.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return edit


def replaced(before: str, after: str) -> Edit:
    """Change the manifest as a text."""

    def edit(folder: Path) -> None:
        path = folder / "manifest.json"
        text = json.dumps(json.loads(path.read_text()))
        assert before in text
        path.write_text(text.replace(before, after, 1))

    return edit


def rewritten(name: str, write: Callable[[onnx.ModelProto], bytes]) -> Edit:
    """Change the file of a graph, and the hash that the manifest has for it."""

    def edit(folder: Path) -> None:
        path = folder / f"{name}.onnx"
        path.write_bytes(write(onnx.load(path)))
        edited(lambda d: d["graphs"][name]["files"]["fp32"].update(sha256=bundles.sha256_of(path)))(folder)

    return edit


def regraphed(name: str, change: Callable[[onnx.ModelProto], object]) -> Edit:
    """Change a graph, and the hash that the manifest has for it."""

    def write(model: onnx.ModelProto) -> bytes:
        change(model)
        return model.SerializeToString()

    return rewritten(name, write)


def shape(graph: str, kind: str, index: int, sizes: list[Any]) -> Edit:
    return edited(lambda d: d["graphs"][graph][kind][index].update(shape=sizes))


def kept_elsewhere(tensor: onnx.TensorProto, location: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)


def _constant_elsewhere(model: onnx.ModelProto) -> None:
    tensor = helper.make_tensor("secret", TensorProto.FLOAT, [4], b"\0" * 16, raw=True)
    kept_elsewhere(tensor, "../secret.bin")
    model.graph.node.insert(0, helper.make_node("Constant", [], ["secret"], value=tensor))


def _in_a_branch(model: onnx.ModelProto) -> None:
    inner = helper.make_graph([], "branch", [], [], [helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])])
    kept_elsewhere(inner.initializer[0], "/etc/passwd")
    model.graph.node.insert(0, helper.make_node("If", ["mix"], ["s"], then_branch=inner, else_branch=inner))


def _behind_a_large_tag(model: onnx.ModelProto) -> bytes:
    """Weights elsewhere in a graph whose tag has a bit that protocol buffers drop."""
    graph = onnx.ModelProto(graph=model.graph)
    kept_elsewhere(graph.graph.initializer[0], "/etc/passwd")
    model.ClearField("graph")
    return model.SerializeToString() + b"\xba\x80\x80\x80\x10" + graph.SerializeToString()[1:]


def _voice_elsewhere(folder: Path) -> None:
    """Add a part with a graph of its own, whose weights are not in the bundle."""
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, 8], b"\0" * 32, raw=True)
    kept_elsewhere(weights, "/etc/passwd")
    shapes = {
        "voices": ["sources", "samples"],
        "prints": ["sources", "frames", 4],
        "weights": ["sources", "frames"],
    }
    tensors = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name, sizes in shapes.items()
    ]
    node = helper.make_node("Identity", ["voices"], ["prints"])
    model = helper.make_model(helper.make_graph([node], "voice", tensors[:1], tensors[1:], [weights]))
    (folder / "voice.onnx").write_bytes(model.SerializeToString())
    files = {"fp32": {"path": "voice.onnx", "sha256": bundles.sha256_of(folder / "voice.onnx")}}
    specs = [{"name": name, "shape": sizes} for name, sizes in shapes.items()]
    graph = {"inputs": specs[:1], "outputs": specs[1:], "files": files}
    values = {"hop": [128], "same": [1.0], "certainty": [1.0]}
    part = {"name": "voice", "required": False, "graph": graph, "values": values}
    edited(lambda d: d["parts"].append(part))(folder)


def _doubled(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    last = model.graph.node[-1]
    last.output[0] = "single"
    model.graph.node.append(helper.make_node("Cast", ["single"], ["est"], to=TensorProto.DOUBLE))


def _voice(manifest: dict[str, Any], hop: int) -> dict[str, Any]:
    prints = {"name": "prints", "shape": [2, "frames", 4]}
    graph = {
        "inputs": [{"name": "voices", "shape": [2, "samples"]}],
        "outputs": [prints, {"name": "weights", "shape": [2, "frames"]}],
        "files": manifest["graphs"]["block"]["files"],
    }
    values = {"hop": [hop], "same": [1], "certainty": [1]}
    return {"name": "voice", "required": False, "graph": graph, "values": values}


def _unsized(manifest: dict[str, Any]) -> dict[str, Any]:
    part = _voice(manifest, hop=128)
    part["graph"]["outputs"][0]["shape"][2] = "size"
    return part


def to_come(
    precision: str = "fp32",
    path: str = "denoise.onnx",
    samples: int | str = "samples",
    required: bool = False,
) -> Edit:
    """Add a part that this version does not know."""
    graph = {
        "inputs": [{"name": "voices", "shape": [2, samples]}],
        "outputs": [],
        "files": {precision: {"path": path, "sha256": "0" * 64}},
    }
    part = {"name": "denoise", "required": required, "graph": graph, "values": {"floor": [0.5]}}
    return edited(lambda manifest: manifest["parts"].append(part))


def _replace_by(make: Callable[[Path], object]) -> Edit:
    def edit(folder: Path) -> None:
        (folder / "manifest.json").unlink()
        make(folder / "manifest.json")

    return edit


def _fifo(path: Path) -> None:
    import os

    os.mkfifo(path)


def _telling_alone(*limits_db: float) -> Edit:
    part = {"name": "estimate", "required": False, "graph": None}

    def change(manifest: dict[str, Any]) -> None:
        manifest["graphs"]["block"]["outputs"].append({"name": "change", "shape": [2]})
        manifest["parts"].append({**part, "values": toy_estimate(alone=limits_db).values})

    return edited(change)


ELSEWHERE = "keeps data in other files"
OFFLINE: dict[str, tuple[Edit, str]] = {
    "NaN": (replaced('"windows_s": [0.05', '"windows_s": [NaN'), ""),
    "infinity": (replaced('"windows_s": [0.05, 0.1, 0.2', '"windows_s": [0.05, 0.1, 1e999'), ""),
    "-Infinity": (replaced('"quality": null', '"quality": -Infinity'), ""),
    "a lone surrogate": (replaced('"licence": "Apache-2.0"', r'"licence": "\ud800"'), ""),
    "a NUL in a name": (replaced('"name": "toy"', r'"name": "t\u0000y"'), "name"),
    "a NUL in a key": (replaced('"files": {"fp32"', r'"files": {"\u0000": null, "fp32"'), "files"),
    "a number beyond all": (replaced('"sources": 2', '"sources": ' + "1" * 31), "sources"),
    "a very long number": (replaced('"sources": 2', '"sources": ' + "1" * 5000), ""),
    "a fraction of a source": (replaced('"sources": 2', '"sources": 2.0'), "sources"),
    "a negative number": (edited(lambda d: d.update(min_samples=-1)), "min_samples"),
    "true as a format": (edited(lambda d: d.update(format=True)), "format"),
    "a format with a fraction": (replaced('"format": 2', '"format": 1.0'), "format"),
    "a byte order mark": (
        lambda folder: (folder / "manifest.json").write_bytes(
            b"\xef\xbb\xbf" + (folder / "manifest.json").read_bytes()
        ),
        "cannot be read",
    ),
    "another encoding": (
        lambda folder: (folder / "manifest.json").write_bytes(b'{"name": "\xe4"}'),
        "cannot be read",
    ),
    "deep nesting": (
        lambda folder: (folder / "manifest.json").write_text("[" * 200_000 + "]" * 200_000),
        "",
    ),
    "deep nesting within": (replaced('"quality": null', '"quality": ' + "[" * 900 + "]" * 900), "quality"),
    "deep nesting beside": (
        replaced('"quality": null', '"quality": null, "x": ' + "[" * 200_000 + "]" * 200_000),
        "",
    ),
    "a huge manifest": (
        lambda folder: (folder / "manifest.json").write_text(" " * (bundles.MOST_MANIFEST_BYTES + 1)),
        "at most 1048576",
    ),
    "a manifest that is a pipe": (_replace_by(_fifo), "is not a file"),
    "a manifest that is a device": (_replace_by(lambda path: path.symlink_to("/dev/zero")), "is not a file"),
    "a manifest that is a folder": (_replace_by(Path.mkdir), "is not a file"),
    "too many sources": (edited(lambda d: d.update(sources=7)), "from 1 to 6"),
    "no source": (edited(lambda d: d.update(sources=0)), "from 1 to 6"),
    "too high a rate": (edited(lambda d: d.update(sample_rate=10**6)), "from 1000 to 768000"),
    "too low a rate": (edited(lambda d: d.update(sample_rate=999)), "from 1000 to 768000"),
    "too deep": (edited(lambda d: d["depth"].update(max=65)), "max <= 64"),
    "most samples": (edited(lambda d: d.update(min_samples=2**31 - 1)), "from 1 to 960000"),
    "a window of nothing": (edited(lambda d: d.update(windows_s=[1e-300])), "from min_samples"),
    "a window of hours": (edited(lambda d: d.update(windows_s=[1.0, 1e5])), "to 60 s"),
    "too many windows": (edited(lambda d: d.update(windows_s=[1 + i / 64 for i in range(33)])), "up to 32"),
    "a size of zero": (shape("block", "inputs", 0, [2, "samples", 0, 1]), "up to 67108864"),
    "a huge size": (shape("block", "inputs", 0, [2, "samples", 50_000, 50_000]), "up to 67108864"),
    "sources of another number": (shape("decoder", "outputs", 0, [3, "samples"]), "est must be"),
    "a mixture without axes": (shape("stem", "inputs", 0, ["samples"]), "mix must be"),
    "quality without a text": (
        edited(
            lambda d: d.update(
                quality={
                    "test_set": 1,
                    "metric": "",
                    "mixtures": 1,
                    "depths": [],
                    "windows": [],
                    "scenes": [],
                }
            )
        ),
        "test_set",
    ),
    "an estimate of nothing": (
        edited(
            lambda d: d["parts"].append(
                {"name": "estimate", "required": False, "graph": None, "values": {"interval": [1, 1]}}
            )
        ),
        "the part estimate",
    ),
    "one limit of a voice alone": (_telling_alone(20.0), "2 numbers in alone"),
    "no least level of a voice alone": (_telling_alone(0.0, 20.0), "above 0 in alone"),
    "a voice with a long hop": (edited(lambda d: d["parts"].append(_voice(d, hop=4001))), "0.25 s"),
    "a voiceprint without a length": (
        edited(lambda d: d["parts"].append(_unsized(d))),
        "the part voice must turn voices into prints and weights",
    ),
    "a required part to come": (
        to_come(required=True),
        "needs the part 'denoise', which",
    ),
    "a block that tells its change alone": (
        edited(lambda d: d["graphs"]["block"]["outputs"][0].update(name="change")),
        "first output must be the next z",
    ),
    "a part twice": (
        edited(lambda d: d["parts"].extend(2 * [_voice(d, hop=128)])),
        "different names",
    ),
    "training without steps": (
        edited(lambda d: d.update(training={"data": "x", "steps": "many", "licence": ""})),
        "steps",
    ),
    "another shape than the graph's": (shape("block", "outputs", 0, [2, "samples", 1, 2]), ""),
    "another number of axes": (shape("block", "outputs", 0, [2, "samples", 1]), ""),
    "64-bit floats": (regraphed("decoder", _doubled), "float"),
    "a graph that is none": (rewritten("block", lambda model: b"\x0b\x0c"), "not an ONNX file"),
    "weights elsewhere": (
        regraphed("block", lambda model: kept_elsewhere(model.graph.initializer[0], "/etc/passwd")),
        ELSEWHERE,
    ),
    "a constant elsewhere": (regraphed("stem", _constant_elsewhere), ELSEWHERE),
    "a voice graph elsewhere": (_voice_elsewhere, ELSEWHERE),
    "elsewhere in a branch": (regraphed("stem", _in_a_branch), ELSEWHERE),
    "a place without the mark": (
        regraphed(
            "block",
            lambda model: model.graph.initializer[0].external_data.add(key="location", value="stem.onnx"),
        ),
        ELSEWHERE,
    ),
    "elsewhere behind a large tag": (rewritten("block", _behind_a_large_tag), "not an ONNX file"),
}
STREAMING: dict[str, tuple[Edit, str]] = {
    "endless latency": (edited(lambda d: d["stream"].update(latency_samples=2**31 - 1)), "at most 60 s"),
    "huge steps": (
        edited(lambda d: d["stream"].update(step_samples=2**27, latency_samples=2**27)),
        "at most 60 s",
    ),
    "state beyond memory": (
        edited(
            lambda d: [
                tensor.update(shape=[2, 30_000_000])
                for tensor in d["graphs"]["block"]["inputs"]
                if tensor["name"] == "edges"
            ]
        ),
        "for all repetitions",
    ),
    "a mixture of another length": (shape("stem", "inputs", 0, [1, 64]), "mix must be"),
    "an estimate of another length": (shape("decoder", "outputs", 0, [2, 64]), "est must be"),
    "a shape that varies": (shape("block", "outputs", 0, [2, "samples"]), "fixed shape"),
}
PASSED_OVER: dict[str, Edit] = {
    "an optional part": to_come(),
    "a part of another precision": to_come(precision="int8"),
    "a part of another size": to_come(samples=2**27),
    "a part from elsewhere": to_come(path="https://somewhere/denoise.onnx"),
}
