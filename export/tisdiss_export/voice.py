"""The voiceprint as a part of a bundle: ``voice.onnx``, checked against PyTorch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from tisdiss_models.voiceprint import load_voiceprint
from tisdiss_rt import bundle
from tisdiss_rt.engine.onnx_runtime import open_part

from .graphs import write_graph

# Of voiceprints of length 1, chosen by conversations of people of validation/: where two are as likely of one
# talker as of two, and how much one block says.
SAME, CERTAINTY = 1.0, 10.0
TOLERANCE = 1e-3  # of the largest output


def add_voice(exported: bundle.Bundle, state: Path) -> bundle.Bundle:
    """Add a trained voiceprint to a bundle, in the place of the one that it has.

    Returns the bundle as a runtime loads it. Raises CheckpointError for a file that is none, and ValueError
    if it is for another sample rate or its graph differs from PyTorch.
    """
    network = load_voiceprint(state)
    config, manifest = network.config, exported.manifest
    if config.sample_rate != manifest.sample_rate:
        raise ValueError(f"{state} is for {config.sample_rate} Hz, the bundle for {manifest.sample_rate} Hz")
    inputs = (bundle.TensorSpec("voices", ("sources", "samples")),)
    outputs = (
        bundle.TensorSpec("prints", ("sources", "frames", config.size)),
        bundle.TensorSpec("weights", ("sources", "frames")),
    )
    path = exported.folder / "voice.onnx"
    example = {"voices": 0.1 * torch.randn(2, 20 * config.hop)}
    write_graph(network, bundle.Graph(inputs, outputs, {}), example, path)
    graph = bundle.Graph(inputs, outputs, {"fp32": bundle.FileRef(path.name, bundle.sha256_of(path))})
    values: dict[str, tuple[float, ...]] = {
        "hop": (float(config.hop),),
        "same": (SAME,),
        "certainty": (CERTAINTY,),
    }
    part = bundle.Part(bundle.VOICE, required=False, graph=graph, values=values)
    others = tuple(other for other in manifest.parts if other.name != part.name)
    parts = (*others, part)
    bundle.write_manifest(exported.folder, dataclasses.replace(manifest, format=bundle.FORMAT, parts=parts))
    made = bundle.load(exported.folder)
    for sources, samples in ((1, 16 * config.hop), (2, 77 * config.hop + 5), (3, 9 * config.hop)):
        voices = torch.randn(sources, samples) * torch.linspace(-0.1, 0.2, samples).clamp(
            min=0
        )  # silence first
        found = open_part(made, graph, "voice graph").run_arrays({"voices": voices.numpy()})
        with torch.no_grad():
            expected = network(voices)
        for one, other in zip(found, expected, strict=True):
            if not np.abs(one - other.numpy()).max() <= TOLERANCE * float(other.abs().max()):
                raise ValueError("the voice graph differs from PyTorch")
    return made
