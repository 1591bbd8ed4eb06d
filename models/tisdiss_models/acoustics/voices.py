"""Two talkers for each mixture: which ones, which part of their recordings, speed, level and colour."""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import SceneConfig
from ..data import Corpus
from .drawing import Draw
from .filters import smooth_response

RMS = 0.05  # level of every voice before its own level is applied
SPEED_STEP = 0.01
SPLICE_FADE_S = 0.005  # out of one place of a recording, and into the other


def draw_voices(draw: Draw, talkers: Corpus, config: SceneConfig, batch: int, samples: int) -> Tensor:
    """Read two different talkers for each mixture, at their speeds, colours and levels.

    Returns:
        (batch, 2, samples) float32.
    """
    count = len(talkers.lengths)
    one = torch.randint(count, (batch,), generator=draw.generator)
    other = (one + torch.randint(1, count, (batch,), generator=draw.generator)) % count
    talker = torch.stack([one, other], 1).flatten()  # (2 B,)
    steps = int(config.speed_range / SPEED_STEP + 1e-6)
    faster = torch.randint(-steps, steps + 1, (2 * batch,), generator=draw.generator)
    taken = [samples + round(SPEED_STEP * samples) * n for n in faster.tolist()]
    colour = None
    if config.equaliser_db:
        colour = smooth_response(draw, 2 * batch, samples // 2 + 1, config.equaliser_db)
    audio = at_speeds(draw, talkers, talker, taken, samples, colour, config.splice_share)  # (2 B, samples)
    audio = audio * (RMS / audio.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-4))
    half_db = draw.uniform(batch, span=config.level_db) / 2 * draw.sign(batch)
    gain = 10 ** (torch.stack([half_db, -half_db], 1) / 20)
    return audio.unflatten(0, (batch, 2)) * gain[..., None]


def crops(draw: Draw, corpus: Corpus, which: Tensor, samples: int, splice_share: float = 0.0) -> Tensor:
    """Read a random part of each speaker of `which` (on the CPU): (rows, samples), from -1 to 1.

    A share of them is cut, and goes on from another place of the same speaker's recordings.
    """
    starts, lengths = corpus.starts[which], corpus.lengths[which]
    room = (lengths - samples).clamp(min=0)

    def place() -> Tensor:
        first = (torch.rand(len(which), generator=draw.generator) * (room + 1)).long().minimum(room)
        return draw.sent(starts + first)[:, None]

    time = torch.arange(samples, device=draw.device)
    inside = time % draw.sent(lengths)[:, None]  # short ones repeat
    index = place() + inside
    if not splice_share:
        return corpus.samples[index].float() / 32768
    is_cut = torch.rand(len(which), generator=draw.generator) < splice_share
    cut = samples * torch.where(is_cut, 0.1 + 0.8 * torch.rand(len(which), generator=draw.generator), 2.0)
    cut = draw.sent(cut)[:, None]
    index = torch.where(time < cut, index, place() + inside)
    faded = ((time - cut).abs() / (SPLICE_FADE_S * corpus.sample_rate)).clamp(max=1.0)
    return corpus.samples[index].float() / 32768 * faded


def at_speeds(
    draw: Draw,
    corpus: Corpus,
    which: Tensor,
    taken: list[int],
    samples: int,
    colour: Tensor | None,
    splice_share: float = 0.0,
) -> Tensor:
    """Read parts of `taken` samples and make each `samples` long, in the spectrum: (rows, samples).

    Resampling is the transform of one length and its inverse at another; speeds in steps of a hundredth keep
    both lengths products of small primes.
    """
    bins = samples // 2 + 1
    spectrum = torch.zeros(len(taken), bins, dtype=torch.complex64, device=draw.device)
    for length in sorted(set(taken)):
        rows = torch.tensor([i for i, t in enumerate(taken) if t == length])
        part = torch.fft.rfft(crops(draw, corpus, which[rows], length, splice_share)) * (samples / length)
        kept = min(bins, part.shape[1])
        spectrum[draw.sent(rows), :kept] = part[:, :kept]
    if colour is not None:
        spectrum = spectrum * colour
    return torch.fft.irfft(spectrum, samples)
