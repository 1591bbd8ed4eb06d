"""What a recording has above the band of the network: each voice gets its share of it.

A network of 16 kHz returns voices up to 8 kHz. Above, little tells voices apart, but who talks does: at each
moment, a voice takes as much of the mixture above as it has of the band just below::

    mixture ──┬─────────────────────────> above the network's band ──┐
              └─> the band just below ──┐                            ×──> + ──> voice
    voice ──────> the band just below ──┴─> share, frame by frame ───┘    │
      └───────────────────────────────────────────────────────────────────┘

Noise that the network has removed below is removed above, too: the shares are of the whole mixture. They add
up to 1 at most.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from tisdiss_rt.audio import Array
from tisdiss_rt.audio.blocks import resample

HOP_S = 0.016
BELOW = 0.75  # of the network's highest frequency: from there on is "just below"


def with_highs(
    voices: Iterable[Array], mixture: Iterable[Array], sample_rate: int, model_hz: int
) -> Iterator[Array]:
    """Add to voices what the mixture has above half of ``model_hz``.

    Args:
        voices: pieces (m, sources), about as many samples as the mixture.
        mixture: blocks (m,); the first one is asked for after the first of the voices.
        sample_rate: of both in Hz.
        model_hz: sample rate of the network, which is lower.

    Yields:
        Pieces (m, sources), at least as many samples as the mixture.
    """
    hop = max(1, round(HOP_S * sample_rate))
    held: Array | None = None
    for block in itertools.chain(_together(voices, mixture, sample_rate, model_hz), [None]):
        if held is None and block is not None:
            held = np.zeros((hop, block.shape[1]), np.float32)  # before the first sample
        if held is None:
            return
        held = np.concatenate([held, np.zeros((3 * hop, held.shape[1])) if block is None else block])
        count = len(held) // hop - 2
        if count > 0:
            gains = _gains(held[: (count + 2) * hop, 1:], hop, sample_rate, model_hz)  # (count + 1, sources)
            rising = (np.arange(hop) / hop)[:, None]
            gain = (gains[:-1, None] * (1 - rising) + gains[1:, None] * rising).reshape(count * hop, -1)
            now = held[hop : (count + 1) * hop]
            yield (now[:, 2:] + gain * now[:, :1]).astype(np.float32)
            held = held[count * hop :]


def _gains(sound: Array, hop: int, sample_rate: int, model_hz: int) -> Array:
    """Return the share (frames, sources) that each voice has of the mixture, in ``sound`` (m, 1 + sources).

    By amplitude: between two voices that is a bit better than by power.
    """
    frames = np.lib.stride_tricks.sliding_window_view(sound, 2 * hop, axis=0)[
        ::hop
    ]  # (frames, 1 + sources, n)
    spectrum = np.fft.rfft(frames * np.hanning(2 * hop), axis=2)
    hz = np.fft.rfftfreq(2 * hop, 1 / sample_rate)
    band = (hz >= BELOW * model_hz / 2) & (hz < model_hz / 2)
    level = np.sqrt(np.square(np.abs(spectrum[..., band])).sum(axis=2))
    whole = np.maximum(level[:, :1], level[:, 1:].sum(axis=1, keepdims=True))
    share: Array = level[:, 1:] / (whole + 1e-20)
    return share


def _together(
    voices: Iterable[Array], mixture: Iterable[Array], sample_rate: int, model_hz: int
) -> Iterator[Array]:
    """Yield (m, 2 + sources): what the mixture has above, and below, and the voices."""
    waiting_voices = iter(voices)
    first = next(waiting_voices, None)
    if first is None:
        return
    nothing = itertools.repeat(np.zeros((4096, first.shape[1]), np.float32))
    whole, source = itertools.tee(mixture)
    low = resample(resample(source, sample_rate, model_hz), model_hz, sample_rate)
    streams = [
        (block[:, None] for block in whole),
        itertools.chain((block[:, None] for block in low), (zeros[:, :1] for zeros in nothing)),
        itertools.chain([first], waiting_voices, nothing),
    ]
    for mix, below, piece in _aligned(streams):
        yield np.concatenate([mix - below, below, piece], axis=1)


def _aligned(streams: list[Iterator[Array]]) -> Iterator[list[Array]]:
    """Yield blocks of equal length of each stream (m, any), until the first stream ends."""
    held: list[Array] = [np.zeros((0, 1), np.float32)] * len(streams)
    while True:
        for number, stream in enumerate(streams):
            while not len(held[number]):
                block = next(stream, None)
                if block is None:
                    return
                held[number] = block
        length = min(map(len, held))
        yield [block[:length] for block in held]
        held = [block[length:] for block in held]
