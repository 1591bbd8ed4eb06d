"""How well voices are told apart: equal error rate of the voiceprint, of the signature, and of resemblyzer.

Excerpts of 1, 2 and 5 s of people of `validation/` and `test/`, clean, and as `--bundle` separates them from
a mixture with another person, in a scene. All pairs of excerpts of one condition are compared; the equal
error rate is where as many pairs of one person are taken for two as the other way round.

    pip install resemblyzer                                            # for its column, else left out
    python -m benchmarks.quality.voiceprints --voice voice.pt          # one that is not in a bundle yet
    python -m benchmarks.quality.voiceprints --update                  # to VOICEPRINTS.md
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.quality.quality import speech_folder
from tisdiss_models.acoustics import SCENES
from tisdiss_models.acoustics.channels import draw_channel
from tisdiss_models.acoustics.drawing import Draw
from tisdiss_models.acoustics.filters import filtered
from tisdiss_models.acoustics.noises import draw_noise
from tisdiss_models.acoustics.rooms import convolved, draw_responses
from tisdiss_models.acoustics.voices import crops
from tisdiss_models.data import Corpus, load_corpus
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine import open_engine
from tisdiss_rt.engine.base import Engine
from tisdiss_rt.talkers.blocks import Voiceprints
from tisdiss_rt.talkers.voiceprints import SignatureVoiceprints, voiceprints_of

RATE = 16000
LENGTHS_S = (1.0, 2.0, 5.0)
EXCERPTS = 5  # of each person
DEPTH = 4
SEED = 4001
PAGE = Path(__file__).parent / "VOICEPRINTS.md"
CONDITIONS = ("clean", "separated", "separated, room-0.4s", "separated, telephone")
Embed = Callable[[np.ndarray], np.ndarray]  # a voice (n,) to a vector; the angle tells voices apart


def people() -> Corpus:
    """Read the people of `validation/` and of `test/` as one corpus."""
    parts = [load_corpus(speech_folder() / name, RATE, 6.0) for name in ("validation", "test")]
    offset = len(parts[0].samples)
    return Corpus(
        torch.cat([part.samples for part in parts]),
        torch.cat([parts[0].starts, parts[1].starts + offset]),
        torch.cat([part.lengths for part in parts]),
        RATE,
        parts[0].names + parts[1].names,
    )


def excerpts(
    corpus: Corpus, condition: str, length_s: float, engine: Engine
) -> tuple[np.ndarray, np.ndarray]:
    """Make voices (N, samples) of a condition, and who each is of (N,)."""
    generator = torch.Generator().manual_seed(SEED + round(length_s) + 10 * CONDITIONS.index(condition))
    draw = Draw(generator, torch.device("cpu"))
    count, samples = len(corpus.names), round(length_s * RATE)
    who = torch.arange(count).repeat(EXCERPTS)
    voices = _level(crops(draw, corpus, who, samples))
    if condition == "clean":
        return voices.numpy(), who.numpy()
    others = (who + torch.randint(1, count, (len(who),), generator=generator)) % count
    both = torch.stack([voices, _level(crops(draw, corpus, others, samples))], 1)  # (N, 2, samples)
    scene = SCENES[condition.partition(", ")[2] or "clean"]
    if scene.room_share:
        both = convolved(both, draw_responses(draw, scene, len(both), RATE))
    mix = both.sum(1)
    mix = mix + draw_noise(draw, scene, mix, corpus, None)
    response = draw_channel(draw, scene, len(mix), samples, RATE)
    mix, both = filtered(mix, response), filtered(both, response[:, None])
    found = []
    for mixture, voice in zip(mix.numpy(), both[:, 0].numpy(), strict=True):
        estimates = engine.every_depth(mixture, DEPTH)[DEPTH]
        found.append(estimates[np.abs(estimates @ voice).argmax()])
    return np.stack(found), who.numpy()


def _level(voices: torch.Tensor) -> torch.Tensor:
    return voices * (0.05 / voices.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-4))


def equal_error_rate(vectors: np.ndarray, who: np.ndarray) -> float:
    """Compare all pairs of vectors (N, size) of people (N,) by their distance."""
    first, second = np.triu_indices(len(who), 1)
    distance = np.square(vectors[:, None] - vectors[None]).sum(2)[first, second]
    same = who[first] == who[second]
    order = distance.argsort()
    missed = 1 - np.cumsum(same[order]) / same.sum()
    taken = np.cumsum(~same[order]) / (~same).sum()
    at = int(np.abs(missed - taken).argmin())
    return float((missed[at] + taken[at]) / 2)


def by_voiceprints(voiceprints: Voiceprints) -> Embed:
    def embed(voice: np.ndarray) -> np.ndarray:
        samples = len(voice) // voiceprints.hop * voiceprints.hop
        sums, weights = voiceprints.frames(voice[None, :samples], samples)
        return voiceprints.points(sums[0, 0], weights[0, 0])

    return embed


def by_resemblyzer() -> Embed:
    from resemblyzer import VoiceEncoder  # installed for this benchmark alone

    encoder = VoiceEncoder("cpu", verbose=False)
    return lambda voice: encoder.embed_utterance(voice * 0.6)  # at its own training level


def columns(bundle: bundles.Bundle, voice: Path | None) -> dict[str, Embed]:
    """Return what is compared, by the head of its column."""
    found = {"signature": by_voiceprints(SignatureVoiceprints(RATE))}
    if voice is not None:
        from tisdiss_models.voiceprint import load_voiceprint, pooled

        network = load_voiceprint(voice)

        @torch.no_grad()
        def embed(x: np.ndarray) -> np.ndarray:
            return pooled(*network(torch.from_numpy(x[None])))[0].numpy()

        found["voiceprint"] = embed
    elif any(part.name == "voice" for part in bundle.manifest.parts):
        found["voiceprint"] = by_voiceprints(voiceprints_of(bundle))
    if importlib.util.find_spec("resemblyzer"):
        found["resemblyzer"] = by_resemblyzer()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="edge-16k", help="name or folder")
    parser.add_argument("--voice", type=Path, help="a trained voiceprint, instead of the bundle's")
    parser.add_argument("--condition", action="append", choices=CONDITIONS, help="only this one")
    parser.add_argument("--update", action="store_true", help="write the table to VOICEPRINTS.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = bundles.load(options.bundle)
    engine = open_engine(bundle, provider="cpu", threads=1, precision="fp32")
    corpus, compared = people(), columns(bundle, options.voice)
    lines = [
        "| excerpts | length |" + "".join(f" {name} |" for name in compared),
        "|---|---|" + "---|" * len(compared),
    ]
    for condition in options.condition or CONDITIONS:
        for length_s in LENGTHS_S:
            voices, who = excerpts(corpus, condition, length_s, engine)
            rates = [equal_error_rate(np.stack([e(v) for v in voices]), who) for e in compared.values()]
            lines.append(
                f"| {condition} | {length_s:g} s | " + " | ".join(f"{100 * r:.1f} %" for r in rates) + " |"
            )
            print(lines[-1], flush=True)
    if options.update:
        head = PAGE.read_text(encoding="utf-8").partition("\n| ")[0].rstrip()
        PAGE.write_text(head + "\n\n" + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
