"""The voiceprint as a part of a bundle."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tisdiss_export.voice import add_voice
from tisdiss_models.voiceprint import Voiceprint
from tisdiss_rt import BundleError
from tisdiss_rt import bundle as bundles
from tisdiss_rt.talkers.voiceprints import LearntVoiceprints, SignatureVoiceprints, voiceprints_of


@pytest.fixture
def state(tmp_path):
    torch.manual_seed(0)
    network = Voiceprint()
    content = {"voiceprint": network.state_dict(), "config": dataclasses.asdict(network.config)}
    torch.save(content, tmp_path / "state.pt")
    return tmp_path / "state.pt"


@pytest.fixture
def without(tmp_path) -> Path:
    """A shipped bundle without its voiceprint."""
    folder = tmp_path / "bundle"
    shutil.copytree(bundles.load("edge-16k").folder, folder)
    bundles.write_manifest(folder, dataclasses.replace(bundles.load(folder).manifest, parts=()))
    (folder / "voice.onnx").unlink(missing_ok=True)
    return folder


def test_a_bundle_gets_a_voiceprint_and_another_one(without, state):
    assert isinstance(voiceprints_of(bundles.load(without)), SignatureVoiceprints)
    made = add_voice(bundles.load(without), state)  # compares the graph with PyTorch
    assert add_voice(made, state).manifest.parts == made.manifest.parts
    voiceprints = voiceprints_of(made)
    assert isinstance(voiceprints, LearntVoiceprints)
    voices = np.random.default_rng(0).standard_normal((2, 16384)).astype(np.float32)
    sums, weights = voiceprints.frames(voices, 4096)
    assert sums.shape == (4, 2, 48) and weights.shape == (4, 2)
    assert np.square(voiceprints.points(sums, weights)).sum(2) == pytest.approx(1)
    assert (without / "voice.onnx").stat().st_size < 500_000


def test_a_damaged_voiceprint_is_told(without, state):
    add_voice(bundles.load(without), state)
    (without / "voice.onnx").write_bytes(b"damaged")
    with pytest.raises(BundleError, match="damaged"):
        voiceprints_of(bundles.load(without))
    (without / "voice.onnx").unlink()
    with pytest.raises(BundleError, match=r"voice\.onnx is missing"):
        bundles.load(without)


def test_values_that_make_no_sense_are_refused(without, state):
    manifest = add_voice(bundles.load(without), state).manifest
    for values in ({}, {"hop": (0.5,)}, {"same": (0.0,)}, {"certainty": (1.0, 2.0)}):
        part = manifest.parts[0]
        broken = dataclasses.replace(part, values={**part.values, **values} if values else {})
        with pytest.raises(BundleError, match="part voice"):
            bundles.write_manifest(without, dataclasses.replace(manifest, parts=(broken,)))
