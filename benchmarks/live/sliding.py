"""Streams with an offline bundle: quality against latency, and whether talkers keep their outputs.

The test set has no part in choosing anything here. The first table slides windows over mixtures of the voices
that training keeps for validation: SI-SDR improvement by window, hop, lookahead and fade, with the latency
that they make and the computing time for each second of sound. The second is made of talkers of the training
set: one or both of them talk for 4 s, 3 s of silence follow, and again one or both talk for 4 s. It counts
the streams in which the right talker comes out of an output after that, with voiceprints and without.

    python -m benchmarks.live.sliding             # printed
    python -m benchmarks.live.sliding --update    # and written to SLIDING.md
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch

from benchmarks.pages import update
from benchmarks.quality.quality import RMS, improvement_db, interval_db, speech_folder
from tisdiss_models import acoustics
from tisdiss_models.data import load_corpus
from tisdiss_rt import bundle as bundles
from tisdiss_rt.engine.offline import OfflineEngine
from tisdiss_rt.planning.forecast import Timings
from tisdiss_rt.planning.plan import fixed_plan
from tisdiss_rt.streaming.sliding_core import Slide, SlidingCore
from tisdiss_rt.talkers.causal import CausalOrder
from tisdiss_rt.talkers.voiceprints import voiceprints_of

PAGE = Path(__file__).parent / "SLIDING.md"
SECTIONS = ("Windows", "Talkers")
MIXTURE_S = 8.0
WINDOWS_S = (1.0, 2.0, 4.0)
HOPS_MS = (125, 250, 500)
MARGINS_MS = ((0, 16), (0, 32), (0, 64), (32, 32), (64, 64), (128, 64), (192, 64))  # lookahead, fade
DEFAULT = (2.0, 250, (64, 64))
TALK_S, SILENCE_S = 4, 3
NOISE = 1e-4  # of the room; RMS
SCENES = (("both", "both"), ("both", "one"), ("one", "both"), ("one", "other"), ("one", "one"))


class Remembering:
    """An engine that runs each window only once, and gives its sources in an order that has no meaning."""

    def __init__(self, engine: OfflineEngine) -> None:
        self.engine = engine
        self.known: dict[bytes, np.ndarray] = {}
        self.manifest = engine.manifest

    def start(self, mix: np.ndarray) -> np.ndarray:
        return mix

    def repeat(self, mix: np.ndarray) -> None:
        pass

    def change(self, mix: np.ndarray) -> np.ndarray:
        raise NotImplementedError  # nothing asks for it here

    def decode(self, mix: np.ndarray) -> np.ndarray:
        key = mix.tobytes()
        if key not in self.known:
            state = self.engine.start(mix)
            for _ in range(self.manifest.depth.trained):
                self.engine.repeat(state)
            order = np.random.default_rng(len(self.known)).permutation(self.manifest.sources)
            self.known[key] = self.engine.decode(state)[order]
        return self.known[key]

    def reset(self) -> None:
        pass


def streamed(core: SlidingCore, mix: np.ndarray) -> np.ndarray:
    """Push a whole mixture (n,) and return its estimate (sources, n), aligned."""
    late, step = core.latency_samples - core.step_samples, core.step_samples
    padded = np.zeros(-(-(len(mix) + late) // step) * step, np.float32)
    padded[: len(mix)] = mix
    pieces = [core.push(part).estimate for part in padded.reshape(-1, step)]
    return np.concatenate(pieces, axis=1)[:, late : late + len(mix)]


def slide_of(hop_ms: int, lookahead_ms: int, fade_ms: int, rate: int) -> Slide:
    return Slide(*(ms * rate // 1000 for ms in (hop_ms, lookahead_ms, fade_ms)))


def held_out_mixtures(rate: int, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw mixtures (n,) of the voices kept for validation, and their sources (2, n)."""
    talkers = load_corpus(speech_folder() / "validation", rate, MIXTURE_S + 0.01)
    generator = torch.Generator().manual_seed(4321)
    mix, sources = acoustics.draw_batch(talkers, acoustics.SCENES["clean"], count, MIXTURE_S, generator)
    return zip(mix.numpy(), sources.numpy(), strict=True)


def quality_table(engine: OfflineEngine, count: int) -> str:
    """Compute the SI-SDR improvement for every way to slide."""
    manifest, depth = engine.manifest, engine.manifest.depth.trained
    rate = manifest.sample_rate
    scores, heard_s = defaultdict(list), 0.0
    spent_s: defaultdict[tuple[float, int], float] = defaultdict(float)
    for mix, references in held_out_mixtures(rate, count):
        heard_s += len(mix) / rate
        for window_s, hop_ms in itertools.product(WINDOWS_S, HOPS_MS):
            engine_once, plan = Remembering(engine), fixed_plan(manifest, window_s, depth)
            for number, margins in enumerate(MARGINS_MS):
                core = SlidingCore(engine_once, manifest, plan, Timings(), slide_of(hop_ms, *margins, rate))
                begin = time.perf_counter()
                estimate = streamed(core, mix)
                if number == 0:
                    spent_s[window_s, hop_ms] += time.perf_counter() - begin
                scores[window_s, hop_ms, margins].append(improvement_db(estimate, references, mix))
    lines = [
        f"`{manifest.name}` at depth {depth}, {count} mixtures of {MIXTURE_S:g} s of the voices kept for "
        "validation: SI-SDR improvement in dB by lookahead + fade in ms. Latency: hop + lookahead + fade. "
        f"Time: share of {engine.threads} core, with whatever else ran. The last column is the difference of "
        "64 + 64 to what streams do (2 s, 250 ms), with its 95 % interval over the mixtures.",
        "",
        "| window | hop | time | " + " | ".join(f"{a} + {b}" for a, b in MARGINS_MS) + " | difference |",
        "|---|---|---|" + "---|" * len(MARGINS_MS) + "---|",
    ]
    for window_s, hop_ms in itertools.product(WINDOWS_S, HOPS_MS):
        cells = " | ".join(f"{np.mean(scores[window_s, hop_ms, m]):.1f}" for m in MARGINS_MS)
        share = spent_s[window_s, hop_ms] / heard_s
        each = np.array(scores[window_s, hop_ms, DEFAULT[2]]) - np.array(scores[DEFAULT])
        low, high = interval_db(each)
        difference = f"{each.mean():+.1f} dB ({low:+.1f} to {high:+.1f})"
        lines.append(f"| {window_s:g} s | {hop_ms} ms | {share:.0%} | {cells} | {difference} |")
    return "\n".join(lines) + "\n"


def talkers(rate: int) -> list[np.ndarray]:
    """Return voices (n,) of different people of the training set, long enough, with an RMS of `RMS`."""
    folder = speech_folder() / "train"
    first = {path.name.split("-")[0]: path for path in sorted(folder.glob("*.flac"), reverse=True)}
    voices = []
    for speaker in sorted(first, key=lambda name: hash_order(name)):
        info = soundfile.info(first[speaker])
        if info.samplerate == rate and info.frames >= 2 * TALK_S * rate:
            voice, _ = soundfile.read(first[speaker], frames=2 * TALK_S * rate, dtype="float32")
            voices.append(voice * RMS / np.sqrt(np.mean(np.square(voice))))
    return voices


def hash_order(name: str) -> int:
    """Return a sort key for a fixed order that mixes the speakers."""
    return int(name) * 7919 % 10007


def scene_of(pair: list[np.ndarray], before: str, after: str, rate: int) -> np.ndarray:
    """Make the references (2, n) of a stream."""
    talk, gap = TALK_S * rate, SILENCE_S * rate
    references = np.zeros((2, 2 * talk + gap), np.float32)
    who = {"both": (0, 1), "one": (0,), "other": (1,)}
    for source in who[before]:
        references[source, :talk] = pair[source][:talk]
    for source in who[after]:
        references[source, talk + gap :] = pair[source][talk:]
    return references


def agreement(estimate: np.ndarray, references: np.ndarray) -> float:
    """Return a value above 0 if the outputs carry the sources in their order, below 0 if in the other one."""
    inner = estimate @ references.T  # (outputs, sources)
    return float(inner[0, 0] + inner[1, 1] - inner[0, 1] - inner[1, 0])


def talker_table(bundle: bundles.Bundle, engine: OfflineEngine, streams: int) -> str:
    """Report how often each talker is on the same output after a silence as before it."""
    manifest, rate = engine.manifest, engine.manifest.sample_rate
    plan = fixed_plan(manifest, 2.0, manifest.depth.trained)
    voices, right, voiceprints = talkers(rate), defaultdict(list), voiceprints_of(bundle)
    back = (TALK_S + SILENCE_S) * rate
    parts = {"first 0.5 s": (back, back + rate // 2), "from 1 s on": (back + rate, None)}
    for number in range(streams):
        pair = voices[2 * number : 2 * number + 2]
        for scene in SCENES:
            references = scene_of(pair, *scene, rate)
            noise = np.random.default_rng(number).standard_normal(references.shape[1]) * NOISE
            mix, once = references.sum(0) + np.float32(noise), Remembering(engine)
            for kind in (True, False):
                known = CausalOrder(voiceprints, manifest.sources, rate) if kind else None
                estimate = streamed(SlidingCore(once, manifest, plan, Timings(), talkers=known), mix)
                last = slice(TALK_S // 2 * rate, TALK_S * rate)
                first = agreement(estimate[:, last], references[:, last])
                for part, (begin, end) in parts.items():
                    then = agreement(estimate[:, begin:end], references[:, begin:end])
                    right[scene, part, kind].append(first * then > 0)
    lines = [
        f"`{manifest.name}`, {streams} streams of each kind: share with the right order after the silence.",
        "",
        "| before, after | part | with voiceprints | without |",
        "|---|---|---|---|",
    ]
    for scene, part in itertools.product(SCENES, parts):
        cells = " | ".join(f"{np.mean(right[scene, part, kind]):.0%}" for kind in (True, False))
        lines.append(f"| {', '.join(scene)} | {part} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", default="edge-16k", help="name or folder of an offline bundle")
    parser.add_argument("--mixtures", type=int, default=8)
    parser.add_argument("--streams", type=int, default=8, help="of each kind")
    parser.add_argument("--update", action="store_true", help="write SLIDING.md")
    options = parser.parse_args()
    bundle = bundles.load(options.bundle)
    engine = OfflineEngine(bundle, "cpu", 1, "fp32")
    tables = (quality_table(engine, options.mixtures), talker_table(bundle, engine, options.streams))
    for title, text in zip(SECTIONS, tables, strict=True):
        print(f"## {title}\n\n{text}")
        if options.update:
            update(PAGE, SECTIONS, title, text)


if __name__ == "__main__":
    main()
