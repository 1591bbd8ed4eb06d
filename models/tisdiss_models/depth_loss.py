"""Run a network at several depths for training: mixed precision, compiled parts, estimates judged at once."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .causal import Memory
from .losses import pairwise_soft_snr_db

if TYPE_CHECKING:
    from .network import Network
    from .streaming import StreamingNetwork

Draw = Callable[[int], Tensor]  # takes the number of steps T; returns depths (T, B), at least 1


class Scorer(ABC):
    """Judge the estimates of a network at every depth; `network.make_scorer` gives the one that fits."""

    def __init__(self, network: torch.nn.Module, compile_parts: bool) -> None:
        self.compile_parts = compile_parts
        self.device_type = next(network.parameters()).device.type
        has_bfloat16 = self.device_type != "cpu" or _has_bfloat16()
        self.autocast = torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=has_bfloat16)

    @abstractmethod
    def scores_db(
        self,
        mix: Tensor,
        sources: Tensor,
        depth: int,
        limit_db: float,
        draw: Draw | None = None,
        goes_on: bool = False,
    ) -> list[Tensor]:
        """Return the soft SNR of every estimate against every source, per depth from 0 to `depth`.

        Args:
            mix: (B, samples).
            sources: (B, S, samples).
            depth: repetitions.
            limit_db: see `losses`.
            draw: how deep each step of a stream goes; where a step has fewer repetitions, its deepest result
                stands for those that it skips. None is as deep as possible, as for whole mixtures always.
            goes_on: whether a stream goes on where the mixtures before ended, if they were as many. Whole
                mixtures never do.

        Returns:
            ``depth + 1`` tensors (B, S, S).
        """

    @abstractmethod
    def begin(self, mix: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the map (B S, T, F, D) of mixtures (B, samples) at depth 0, and the block, which repeats."""

    def _wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return torch.compile(function, dynamic=False) if self.compile_parts else function


class DepthScorer(Scorer):
    """Judge the estimates of a `Network`.

    Args:
        network: on the device that trains.
        compile_parts: compile stem, block and decoder (slow at first, then faster).
    """

    def __init__(self, network: Network, compile_parts: bool) -> None:
        super().__init__(network, compile_parts)
        self.network = network
        self._split = self._wrap(network.stem.split)
        self._block = self._wrap(network.block.forward)
        self._score = self._wrap(self._score_depth)

    def scores_db(
        self,
        mix: Tensor,
        sources: Tensor,
        depth: int,
        limit_db: float,
        draw: Draw | None = None,
        goes_on: bool = False,
    ) -> list[Tensor]:
        """See `Scorer`."""
        with torch.no_grad():
            spec, scale = self.network.stem.analyse(mix)
        with self.autocast:
            z, z0, *_ = self._split(spec, scale)
            scores = [self._score(z, spec, scale, mix, sources, limit_db)]
            for _ in range(depth):
                z = self._block(z, z0)
                scores.append(self._score(z, spec, scale, mix, sources, limit_db))
        return scores

    def begin(self, mix: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """See `Scorer`."""
        with torch.no_grad():
            spec, scale = self.network.stem.analyse(mix)
        z, z0, *_ = self._split(spec, scale)
        return z, lambda before: self._block(before, z0)

    def _score_depth(
        self, z: Tensor, spec: Tensor, scale: Tensor, mix: Tensor, sources: Tensor, limit_db: float
    ) -> Tensor:
        decoder = self.network.decoder
        estimated = decoder.head(z, spec).float()
        with torch.autocast(self.device_type, enabled=False):
            wave = decoder.inverse(estimated, mix.shape[1])
            est = wave.unflatten(0, (mix.shape[0], -1)) * scale[:, :, None]  # (B, S, samples)
            return pairwise_soft_snr_db(est, sources, mix, limit_db)


class StreamScorer(Scorer):
    """Judge the estimates of a `StreamingNetwork`, whole recordings unrolled; arguments as `DepthScorer`."""

    def __init__(self, network: StreamingNetwork, compile_parts: bool) -> None:
        super().__init__(network, compile_parts)
        self.network = network
        self._ended: list[dict[str, Tensor]] = []  # state of the stem and of each repetition
        self._split = self._wrap(self._split_steps)
        self._block = self._wrap(self._repeat)
        self._score = self._wrap(self._score_depth)

    def scores_db(
        self,
        mix: Tensor,
        sources: Tensor,
        depth: int,
        limit_db: float,
        draw: Draw | None = None,
        goes_on: bool = False,
    ) -> list[Tensor]:
        """See `Scorer`."""
        network = self.network
        steps = network.steps(mix)
        depths = None if draw is None else draw(steps.shape[1] // network.config.hop)
        blank = network.blank(mix)
        past = [blank["stem"], blank["block"]]
        if goes_on and self._ended and self._ended[0]["level"].shape[1] == len(mix):
            past = self._ended
        heard = Memory(past[0])
        with torch.no_grad():
            spec, scale = network.stem.analyse(steps, heard)
        with self.autocast:
            z, entries = self._split(spec, scale, past[0])
            scores = [self._score(z, spec, mix, sources, limit_db, blank["decoder"])]
            ended = [network.remembered("stem", past[0], {**heard.newest, **entries})]
            newest: Mapping[str, Tensor] | None = None
            for n in range(1, depth + 1):
                of_block = past[min(n, len(past) - 1)]  # of the deepest that ran, where this one never did
                ran = network.ran(depths, n) if n > 1 else None
                z, newest = self._block(z, of_block, ran, newest if n > 1 else None)
                scores.append(self._score(z, spec, mix, sources, limit_db, blank["decoder"]))
                ended.append(network.remembered("block", of_block, newest))
        self._ended = ended
        return scores

    def begin(self, mix: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """See `Scorer`."""
        blank = self.network.blank(mix)
        with torch.no_grad():
            spec, scale = self.network.stem.analyse(self.network.steps(mix), Memory(blank["stem"]))
        z, _ = self._split(spec, scale, blank["stem"])
        return z, lambda before: self._block(before, blank["block"], None, None)[0]

    def _split_steps(
        self, spec: Tensor, scale: Tensor, past: Mapping[str, Tensor]
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        memory = Memory(past)
        return self.network.stem.split(spec, scale, memory), memory.newest

    def _repeat(
        self,
        z: Tensor,
        past: Mapping[str, Tensor],
        ran: Tensor | None,
        shallower: Mapping[str, Tensor] | None,
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        memory = Memory(past, ran, shallower)
        return self.network.block(z, memory), memory.newest

    def _score_depth(
        self,
        z: Tensor,
        spec: Tensor,
        mix: Tensor,
        sources: Tensor,
        limit_db: float,
        blank: Mapping[str, Tensor],
    ) -> Tensor:
        decoder = self.network.decoder
        estimated = decoder.head(z, spec).float()
        with torch.autocast(self.device_type, enabled=False):
            wave = decoder.synthesise(estimated, Memory(blank))
            return pairwise_soft_snr_db(self.network.crop(wave, mix), sources, mix, limit_db)


def _has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16 itself, or training with it would be slower.

    oneDNN supports it with any AVX-512, by way of 32-bit floats.
    """
    if platform.machine() in ("x86_64", "AMD64"):
        return torch.cpu._is_avx512_bf16_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()
