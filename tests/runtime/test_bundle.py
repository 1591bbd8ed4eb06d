import dataclasses
import io
import json
import zipfile

import numpy as np
import onnx
import pytest
from bad_bundles import OFFLINE, PASSED_OVER, STREAMING

from tisdiss_rt import bundle as bundles
from tisdiss_rt import external_data
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.conformance import read_example
from tisdiss_rt.errors import BundleError, OptionError
from tisdiss_rt.talkers.voiceprints import voiceprints_of

QUALITY = bundles.Quality(
    test_set="toy",
    metric="SI-SDR improvement in dB",
    mixtures=3,
    depths=(bundles.DepthQuality(0, 1.0, 0.5, 1.5),),
    windows=(bundles.WindowQuality(0.5, 1, 2.0),),
    scenes=(bundles.SceneQuality("telephone", (bundles.DepthQuality(1, 3.0, 2.5, 3.5),)),),
)
OPTIONAL = bundles.Part("stethoscope", False, None, {"weights": (1.0, 2.5)})
TRAINING = bundles.Training("toy noise", 10, "CC0")


def _edit(folder, change):
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_manifest_survives_the_way_to_disk(toy_maker):
    folder = toy_maker(quality=QUALITY, training=TRAINING)
    manifest = bundles.load(folder).manifest
    assert manifest.quality == QUALITY
    assert manifest.training == TRAINING
    assert manifest.graphs.stem.outputs[0] == bundles.TensorSpec("z", (2, "samples", 1, 1))
    before = (folder / "manifest.json").read_text()
    bundles.write_manifest(folder, manifest)
    assert (folder / "manifest.json").read_text() == before


def test_format_1_is_read_as_a_bundle_without_scenes_and_parts(toy_maker):
    folder = toy_maker(quality=QUALITY)

    def make_old(data):
        data.pop("parts")
        data["quality"].pop("scenes")
        data["format"] = 1

    _edit(folder, make_old)
    manifest = bundles.load(folder).manifest
    assert manifest.quality == dataclasses.replace(QUALITY, scenes=())
    assert manifest.parts == ()


def test_unknown_optional_parts_are_passed_over_and_required_ones_refused(toy_maker):
    folder = toy_maker(parts=(OPTIONAL,))
    assert bundles.load(folder).manifest.parts == (OPTIONAL,)
    _edit(folder, lambda data: data["parts"][0].update(required=True))
    with pytest.raises(BundleError, match="needs the part 'stethoscope'"):
        bundles.load(folder)


@pytest.mark.parametrize("name", PASSED_OVER)
def test_whatever_parts_to_come_are_like_they_are_passed_over(toy_maker, name):
    folder = toy_maker()
    PASSED_OVER[name](folder)
    assert bundles.load(folder).manifest.parts[-1].name == "denoise"


def test_whole_numbers_are_fine_where_a_float_is_meant(toy_maker):
    folder = toy_maker()
    _edit(folder, lambda data: data.update(windows_s=[1, 2]))
    windows_s = bundles.load(folder).manifest.windows_s
    assert windows_s == (1.0, 2.0)
    assert all(type(window_s) is float for window_s in windows_s)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=3), "newer tisdiss-rt"),
        (lambda d: d.update(format=3, surprise=1), "newer tisdiss-rt"),
        (lambda d: d.update(format=1), "unknown to format 1"),
        (lambda d: d.pop("parts"), "lacks parts"),
        (lambda d: d.update(parts=[{"name": "x"}]), r"parts\[0\] lacks graph"),
        (lambda d: d.update(format=0), "unknown format 0"),
        (lambda d: d.update(surprise=1), "unknown surprise"),
        (lambda d: d["depth"].update(deepest=1), "manifest.depth has unknown deepest"),
        (lambda d: d.pop("sources"), "lacks sources"),
        (lambda d: d["graphs"].pop("block"), "graphs lacks block"),
        (lambda d: d["graphs"].update(tail={}), "graphs has unknown tail"),
        (lambda d: d.update(sample_rate="16000"), "manifest.sample_rate"),
        (lambda d: d.update(sample_rate=True), "manifest.sample_rate"),
        (lambda d: d.update(sample_rate=0), "sample_rate must be from 1"),
        (lambda d: d.update(kind="batch"), "offline, streaming"),
        (lambda d: d.update(windows_s=[]), "windows_s"),
        (lambda d: d.update(windows_s=[2.0, 1.0]), "windows_s"),
        (lambda d: d.update(depth={"trained": 5, "max": 4}), "trained <= max"),
        (lambda d: d.update(depth={"trained": 0, "max": 0}), "1 <= max"),
        (lambda d: d["graphs"]["block"].update(files={}), "block.files has no fp32"),
        (lambda d: d["graphs"]["block"]["inputs"].append({"name": "ghost", "shape": [1]}), "nowhere: ghost"),
        (lambda d: d["graphs"]["stem"]["outputs"].pop(0), "no output z"),
        (lambda d: d["graphs"]["decoder"]["outputs"][0].update(name="y"), "must be est"),
        (lambda d: d["graphs"]["stem"]["inputs"].clear(), "must take mix"),
        (lambda d: d["conformance"].update(path="gone.npz"), "gone.npz is missing"),
    ],
)
def test_bad_manifests_are_refused(toy_maker, change, message):
    folder = toy_maker()
    _edit(folder, change)
    with pytest.raises(BundleError, match=message):
        bundles.load(folder)


def _edges(manifest, **changes):
    """Change the toy's buffer ``edges`` (2, 5), first in, first out along axis 1, by (2, 2) entries."""
    block = manifest["graphs"]["block"]
    for tensors, name in ((block["inputs"], "edges"), (block["outputs"], "edges_new")):
        next(t for t in tensors if t["name"] == name)["shape"] = changes.get(name, [2, 2])
    next(b for b in manifest["state"] if b["input"] == "edges")["axis"] = changes.get("axis", 1)


BAD_BUFFERS = [
    ({"edges": [2, 5], "axis": -1}, "axis is -1, which is not a whole number"),
    ({"edges": [2, 5], "axis": 2}, "state edges has no axis 2"),
    ({"edges": [2, 5], "axis": 0}, "cannot be appended"),
    ({"edges": [2, 5], "edges_new": [2]}, "cannot be appended"),
    ({"edges": [2, 5], "edges_new": [2, 6]}, "cannot be appended"),
    ({"edges": [2, 5], "edges_new": [3, 2]}, "cannot be appended"),
    ({"edges": [2, 10**12], "edges_new": [3, 2]}, "shape"),
    ({"edges": [2, "samples"]}, "fixed shape"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_BUFFERS)
def test_buffers_that_cannot_be_are_refused(stream_toy_maker, changes, message):
    folder = stream_toy_maker()
    _edit(folder, lambda manifest: _edges(manifest, **changes))
    with pytest.raises(BundleError, match=message):
        bundles.load(folder)


def test_another_layout_of_a_buffer_than_the_graph_has_is_refused(stream_toy_maker):
    folder = stream_toy_maker()
    _edit(folder, lambda manifest: _edges(manifest, edges=[2, 5], edges_new=[2, 1]))
    with pytest.raises(BundleError, match="edges_new of the block graph has the shape"):
        open_engine(bundles.load(folder), provider="cpu")


@pytest.mark.parametrize("name", OFFLINE)
def test_what_no_language_opens(toy_maker, name):
    _is_refused(toy_maker(), *OFFLINE[name])


@pytest.mark.parametrize("name", STREAMING)
def test_streaming_bundles_that_no_language_opens(stream_toy_maker, name):
    _is_refused(stream_toy_maker(), *STREAMING[name])


def _is_refused(folder, edit, message):
    edit(folder)
    with pytest.raises(BundleError) as caught:
        bundle = bundles.load(folder)
        open_engine(bundle, provider="cpu")
        voiceprints_of(bundle)
    assert message in str(caught.value)


def _array(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _damaged(content):
    return content[:100] + b"\xff" * 50 + content[150:]


def _header(text):
    """An archive with an array whose header, which is Python, is this text."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mix.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    return file.getvalue()


MIX = np.zeros(100, np.float32)
BAD_EXAMPLES = {
    "a header without an end": (_header(b"{'descr': '<f4', (\n"), "cannot be read"),
    "a header that is no Python": (_header(b"{'descr' '<f4' 1L\n"), "cannot be read"),
    "no archive": (b"PK", "cannot be read"),
    "a pickled object": (_array(mix=np.array([{}], dtype=object)), "cannot be read"),
    "damaged compression": (_damaged(_array(mix=np.arange(1000, dtype=np.float32))), "cannot be read"),
    "too large": (_array(mix=np.zeros(1 << 25, np.float32)), "unpacks to"),
    "no mixture": (_array(est_0=np.zeros((2, 100), np.float32)), "mix must be"),
    "64-bit floats": (_array(mix=MIX.astype(float), est_0=np.zeros((2, 100), np.float32)), "mix must be"),
    "no estimate": (_array(mix=MIX), "est_N must be there"),
    "too deep": (_array(mix=MIX, est_99=np.zeros((2, 100), np.float32)), "est_N must be there"),
    "another shape": (_array(mix=MIX, est_0=np.zeros((3, 100), np.float32)), "est_0 must be"),
}


@pytest.mark.parametrize("name", BAD_EXAMPLES)
def test_examples_that_are_none(toy_maker, name):
    content, message = BAD_EXAMPLES[name]
    folder = toy_maker()
    (folder / "conformance.npz").write_bytes(content)
    _edit(folder, lambda d: d["conformance"].update(sha256=bundles.sha256_of(folder / "conformance.npz")))
    with pytest.raises(BundleError, match=message):
        read_example(bundles.load(folder))


def test_the_way_to_every_tensor_of_an_onnx_file_is_known():
    """ONNX's own description of its format: every message that can hold a tensor, at any depth."""
    messages = onnx.ModelProto.DESCRIPTOR.file.message_types_by_name
    holders = {"TensorProto"}
    while more := {
        name
        for name, message in messages.items()
        if name not in holders
        for field in message.fields
        if field.message_type is not None and field.message_type.name in holders
    }:
        holders |= more
    for name in holders - {"TensorProto"}:
        fields = {
            field.number: field.message_type.name
            for field in messages[name].fields
            if field.message_type is not None and field.message_type.name in holders
        }
        assert external_data.FIELDS[name] == fields
    tensor = messages["TensorProto"].fields_by_name
    assert tensor["external_data"].number == external_data.EXTERNAL_DATA
    assert tensor["data_location"].number == external_data.DATA_LOCATION


@pytest.mark.parametrize(
    "path", ["../stem.onnx", "/etc/passwd", "a/../../b", "..\\stem.onnx", "C:\\stem.onnx", "c:stem.onnx", ""]
)
def test_paths_must_stay_inside(toy_maker, path):
    folder = toy_maker()
    _edit(folder, lambda d: d["graphs"]["stem"]["files"]["fp32"].update(path=path))
    with pytest.raises(BundleError, match="leaves the bundle"):
        bundles.load(folder)


def test_a_changed_byte_is_noticed(toy_maker):
    folder = toy_maker()
    content = bytearray((folder / "block.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "block.onnx").write_bytes(content)
    loaded = bundles.load(folder)
    loaded.read_graph("stem", "fp32")
    with pytest.raises(BundleError, match=r"block\.onnx is damaged"):
        loaded.read_graph("block", "fp32")


def test_a_missing_graph_file_is_named(toy_maker):
    folder = toy_maker()
    (folder / "block.onnx").unlink()
    with pytest.raises(BundleError, match=r"block\.onnx is missing"):
        bundles.load(folder)


def test_not_json_is_refused(toy_maker):
    folder = toy_maker()
    (folder / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        bundles.load(folder)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(BundleError, match="not an object"):
        bundles.load(folder)


def test_an_unknown_name_lists_what_there_is(monkeypatch, toy_maker, tmp_path):
    folder = toy_maker("here")
    monkeypatch.setattr(bundles, "SHIPPED_FOLDER", tmp_path)
    assert bundles.shipped() == ["here"]
    assert bundles.load("here").folder == folder
    with pytest.raises(BundleError, match=r"'there'.*\(here\)"):
        bundles.load("there")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match=r"no manifest\.json"):
        bundles.load(tmp_path / "empty")


def test_precisions(toy_maker):
    folder = toy_maker()
    manifest = bundles.load(folder).manifest
    other = (folder / "block.onnx").read_bytes() + b"\0\0"
    (folder / "block.int8.onnx").write_bytes(other)
    reference = bundles.FileRef("block.int8.onnx", bundles.sha256_of(folder / "block.int8.onnx"))
    block = manifest.graphs.block
    block = dataclasses.replace(block, files={**block.files, "int8": reference})
    graphs = dataclasses.replace(manifest.graphs, block=block)
    bundles.write_manifest(folder, dataclasses.replace(manifest, graphs=graphs))
    loaded = bundles.load(folder)
    assert loaded.precisions() == ("fp32", "int8")
    assert loaded.read_graph("block", "int8") == other
    assert loaded.read_graph("stem", "int8") == (folder / "stem.onnx").read_bytes()
    with pytest.raises(OptionError, match="only fp32, int8"):
        open_engine(loaded, "cpu", precision="fp16")


def test_the_writer_refuses_what_no_reader_takes(toy_maker, tmp_path):
    manifest = bundles.load(toy_maker()).manifest
    with pytest.raises(BundleError, match="rising"):
        bundles.write_manifest(tmp_path, dataclasses.replace(manifest, windows_s=(2.0, 1.0)))
    assert not (tmp_path / "manifest.json").exists()
