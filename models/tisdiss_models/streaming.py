"""The separator for streams: the same three modules as `network`, run on any number of steps at a time.

One step is one hop of the mixture and one frame of the feature map. What a module needs of earlier steps is
in its `Memory`; whoever runs it keeps the buffers, so that training unrolls a whole recording at once, the
exported graphs run step by step, and both compute the same.

Analysis looks back over a whole window, synthesis uses its end only, which makes the latency short:

    samples     ... |  hop  |  hop  |  hop  |  hop  |         the newest hop is the input of the step
    analysis        |------------ n_fft ------------|         long and asymmetric: fine in frequency
    synthesis                       |---- 2 hops ---|         their product is a Hann window of two hops
    output                          |  hop  |                 complete with the step: latency two hops

D. Mauler, R. Martin, "A low delay, variable resolution, perfect reconstruction spectral analysis-synthesis
system for speech enhancement", EUSIPCO 2007.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .causal import Buffer, CausalLayer, CausalSplitter, Memory, layer_memory
from .config import NetworkConfig
from .depth_loss import Scorer, StreamScorer
from .frontends import BandDecoder, BandEncoder
from .network import Network
from .parts import Part, change_of, step_parts
from .recurrent import RecurrentLayer, RecurrentSplitter, recurrent_memory
from .stft import FourierBasis

RELEASE_S = 2.0  # time in which the followed power of a mixture falls to 1 / e
PEAK_FACTOR = 0.5  # from the followed peak to the usual level of speech
SILENCE = 1e-16  # power under which a mixture counts as silent and is not amplified further


def stream_windows(n_fft: int, hop: int) -> tuple[Tensor, Tensor]:
    """Return the analysis window (n_fft,) and the synthesis window (2 hop,), which applies to its end."""
    rise = torch.sin(torch.pi / 2 * (torch.arange(n_fft - hop) + 0.5) / (n_fft - hop))
    fall = torch.cos(torch.pi / 2 * (torch.arange(hop) + 0.5) / hop)
    analysis = torch.cat([rise, fall])
    synthesis = torch.cat([fall.flip(0).square() / analysis[-2 * hop : -hop], fall])
    return analysis, synthesis


def _layers(config: NetworkConfig, count: int, over_sources: bool) -> nn.ModuleList:
    kind = RecurrentLayer if config.recurrent_dim else CausalLayer
    return nn.ModuleList(kind(config, over_sources, f"layer{i}") for i in range(count))


class StreamStem(nn.Module):
    """Everything before the first repetition: analysis, level, encoder, separator, early split."""

    window: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.hop = config.hop
        self.decay = math.exp(-config.hop / config.sample_rate / RELEASE_S)
        self.fourier = FourierBasis(config.n_fft)
        self.register_buffer("window", stream_windows(config.n_fft, config.hop)[0], persistent=False)
        self.encoder = BandEncoder(config)
        self.layers = _layers(config, config.separator_layers, over_sources=False)
        self.splitter = RecurrentSplitter(config) if config.recurrent_dim else CausalSplitter(config)

    def forward(self, mix: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Encode and split T steps (B, T hop): z (B S, T, F, D), spectrum (B, 2, T, bins)."""
        spec, scale = self.analyse(mix, memory)
        return self.split(spec, scale, memory), spec

    def analyse(self, mix: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return the spectrum (B, 2, T, bins) of T steps (B, T hop) and their scale (B, 1, T, 1)."""
        hops = mix.unflatten(1, (-1, self.hop)).transpose(0, 1)  # (T, B, hop)
        frames = hops.shape[0]
        heard = memory.extend("wave", hops, axis=0)  # (r - 1 + T, B, hop)
        before = heard.shape[0] - frames
        windows = torch.cat([heard[k : k + frames] for k in range(before + 1)], -1)  # (T, B, n_fft)
        spec = (windows * self.window) @ self.fourier().T  # (T, B, 2 bins)
        level = self._follow(windows.square().mean(-1), memory)  # (T, B)
        scale = PEAK_FACTOR * level.clamp(min=SILENCE).sqrt()
        return spec.unflatten(-1, (2, -1)).permute(1, 2, 0, 3), scale.T[:, None, :, None]

    def _follow(self, power: Tensor, memory: Memory) -> Tensor:
        """Follow the power (T, B) up at once and down slowly: level[t] = max(power[t], decay level[t-1])."""
        seen = torch.cat([memory.past["level"], power])  # (1 + T, B)
        age = torch.arange(1, len(seen), device=power.device)[:, None] - torch.arange(
            len(seen), device=power.device
        )
        fading = torch.where(age >= 0, self.decay ** age.clamp(min=0), 0.0)  # (T, 1 + T)
        level = (fading[..., None] * seen).amax(1)
        memory.newest["level"] = level
        return level

    def split(self, spec: Tensor, scale: Tensor, memory: Memory) -> Tensor:
        """Run encoder, separator and splitter: (B S, T, F, D)."""
        x = self.encoder(spec / scale).permute(0, 2, 3, 1)  # (B, T, F, D)
        for layer in self.layers:
            x = layer(x, memory)
        return self.splitter(x, memory)


class StreamBlock(nn.Module):
    """The shared block: applied N times, with the same weights and a memory of its own every time."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.layers = _layers(config, config.block_layers, over_sources=True)

    def forward(self, z: Tensor, memory: Memory) -> Tensor:
        """Map (B S, T, F, D) to the same shape; skipped frames of `memory.ran` pass unchanged."""
        x = z
        for layer in self.layers:
            x = layer(x, memory)
        return x if memory.ran is None else torch.where(memory.ran[..., None, None], x, z)


class StreamDecoder(nn.Module):
    """One waveform per source from the feature map at any depth, at the level it has in the mixture."""

    share: Tensor
    window: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.hop, self.n_fft = config.hop, config.n_fft
        self.head = BandDecoder(config)
        self.fourier = FourierBasis(config.n_fft)
        # As in `stft.InverseStft`: bins between the first and the last stand for two.
        share = torch.full((config.bins, 1), 2.0 / config.n_fft)
        share[0] = share[-1] = 1.0 / config.n_fft
        self.register_buffer("share", share.repeat(2, 1), persistent=False)  # (2 bins, 1)
        self.register_buffer("window", stream_windows(config.n_fft, config.hop)[1], persistent=False)

    def forward(self, z: Tensor, spec: Tensor, memory: Memory) -> Tensor:
        """Return (B S, T hop): the samples of the hop before each step."""
        return self.synthesise(self.head(z, spec), memory)

    def synthesise(self, estimated: Tensor, memory: Memory) -> Tensor:
        """Turn spectra (B S, 2, T, bins) into (B S, T hop)."""
        basis = self.fourier()[:, -2 * self.hop :] * self.share * self.window  # (2 bins, 2 hop)
        pieces = estimated.permute(2, 0, 1, 3).flatten(2) @ basis  # (T, B S, 2 hop)
        first, second = pieces.chunk(2, -1)
        waiting = memory.extend("tail", second, axis=0)[:-1]  # (T, B S, hop)
        return (first + waiting).transpose(0, 1).flatten(1)


def memory_buffers(config: NetworkConfig, mixtures: int = 1) -> dict[str, dict[str, Buffer]]:
    """Return the state of each of ``stem``, ``block`` (one repetition) and ``decoder``, by name."""
    streams = mixtures * config.sources
    stem = {
        "wave": Buffer((config.n_fft // config.hop - 1, mixtures, config.hop), axis=0),
        "level": Buffer((1, mixtures), axis=0),
    }
    if config.lookback:
        stem["splitter"] = Buffer((mixtures, config.dim, 2, len(config.bands)), axis=2)
    of_layer = recurrent_memory if config.recurrent_dim else layer_memory
    for index in range(config.separator_layers):
        stem |= of_layer(config, f"layer{index}", mixtures)
    block: dict[str, Buffer] = {}
    for index in range(config.block_layers):
        block |= of_layer(config, f"layer{index}", streams)
    decoder = {"tail": Buffer((1, streams, config.hop), axis=0)}
    return {"stem": stem, "block": block, "decoder": decoder}


class StreamingNetwork(nn.Module):
    """Stem, block and decoder of one configuration for streams."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = StreamStem(config)
        self.block = StreamBlock(config)
        self.decoder = StreamDecoder(config)

    def forward(self, mix: Tensor, depth: int | None = None) -> Tensor:
        """Separate whole mixtures (B, samples) at `depth`, by default the trained one: (B, S, samples)."""
        *_, deepest = self.every_depth(mix, self.config.trained_depth if depth is None else depth)
        return deepest

    def make_scorer(self, compile_parts: bool) -> Scorer:
        """Return what judges all depths at once in training; arguments as `depth_loss.StreamScorer`."""
        return StreamScorer(self, compile_parts)

    def export_parts(self) -> dict[str, Part]:
        """Return what becomes the graphs ``stem``, ``block`` and ``decoder``."""
        modules = {"stem": self.stem, "block": self.block, "decoder": self.decoder}
        return step_parts(modules, memory_buffers(self.config), self.config)

    @property
    def timing(self) -> tuple[int, int] | None:
        """Samples of a step and of the latency where it runs step by step; None for whole mixtures."""
        return self.config.hop, 2 * self.config.hop

    @torch.no_grad()
    def switching_example(self, mix: Tensor, deepest: int) -> dict[str, Tensor]:
        """Draw a depth for each step of a mixture (samples,), for a runtime to compare with.

        Returns ``depths`` (steps,), from 1 to `deepest`, and ``est_switching`` (S, samples), what they give.
        """
        x = mix[None]
        steps = self.steps(x).shape[1] // self.config.hop
        depths = torch.randint(1, deepest + 1, (steps, 1), generator=torch.Generator().manual_seed(0))
        *_, est = self.every_depth(x, deepest, depths)
        return {"depths": depths[:, 0], "est_switching": est[0]}

    @torch.no_grad()
    def adopt_offline_norm(self, mix: Tensor) -> None:
        """Set the encoder's fixed gain to what an offline network's norm does to mixtures (B, samples)."""
        encoder = self.stem.encoder
        spec, scale = self.stem.analyse(self.steps(mix), Memory(self.blank(mix)["stem"]))
        std, mean = torch.std_mean(encoder.embed(spec / scale))
        encoder.norm.weight.div_(std)
        encoder.norm.bias.sub_(encoder.norm.weight * mean)

    def changes(self, mix: Tensor, depth: int) -> Tensor:
        """Return how much each repetition changes the map of each source, step by step: (T, depth, S)."""
        blank = self.blank(mix[None])
        z, _ = self.stem(self.steps(mix[None]), Memory(blank["stem"]))
        found = []
        for _ in range(depth):
            before, z = z, self.block(z, Memory(blank["block"]))
            found.append(change_of(before, z, over=(2, 3)))  # (S, T)
        return torch.stack(found).permute(2, 0, 1)

    def every_depth(self, mix: Tensor, depth: int, depths: Tensor | None = None) -> Iterator[Tensor]:
        """Separate whole mixtures at depths 0 to `depth`.

        Args:
            mix: (B, samples).
            depth: repetitions.
            depths: (T, B) repetitions in each step of `steps`; by default as many as possible.

        Yields:
            (B, S, samples) each.
        """
        blank = self.blank(mix)
        z, spec = self.stem(self.steps(mix), Memory(blank["stem"]))
        deeper: Memory | None = None
        for n in range(depth + 1):
            if n:
                deeper = Memory(
                    blank["block"], self.ran(depths, n), deeper.newest if deeper is not None else None
                )
                z = self.block(z, deeper)
            yield self.crop(self.decoder(z, spec, Memory(blank["decoder"])), mix)

    def blank(self, mix: Tensor) -> dict[str, dict[str, Tensor]]:
        """Return the state of stem, block and decoder before a stream begins, for mixtures (B, ...)."""
        buffers = memory_buffers(self.config, mix.shape[0])
        return {
            part: {name: mix.new_zeros(buffer.shape) for name, buffer in named.items()}
            for part, named in buffers.items()
        }

    def remembered(
        self, part: str, past: Mapping[str, Tensor], newest: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the state of a part after a run: what was kept before it, and the entries of the run."""
        state = {}
        for name, (shape, axis) in memory_buffers(self.config)[part].items():
            kept = shape[axis]  # may be none
            recent = newest[name].detach().movedim(axis, 0)
            recent = recent[max(len(recent) - kept, 0) :].float()
            entries = torch.cat([past[name].movedim(axis, 0), recent])[len(recent) :]
            state[name] = entries.movedim(0, axis).contiguous()
        return state

    def steps(self, mix: Tensor) -> Tensor:
        """Fill mixtures (B, samples) up to whole steps, and one more to get the last one's result."""
        hop = self.config.hop
        return F.pad(mix, (0, -mix.shape[1] % hop + hop))

    def crop(self, est: Tensor, mix: Tensor) -> Tensor:
        """Undo `steps`: (B S, T hop) to (B, S, samples)."""
        hop = self.config.hop
        return est[:, hop : hop + mix.shape[1]].unflatten(0, (-1, self.config.sources))

    def ran(self, depths: Tensor | None, repetition: int) -> Tensor | None:
        """Return for which frames of which source maps a repetition runs: (B S, T)."""
        if depths is None:
            return None
        return depths.T.ge(repetition).repeat_interleave(self.config.sources, 0)


def build_network(config: NetworkConfig) -> Network | StreamingNetwork:
    """Make the network of a configuration, weights at random."""
    return StreamingNetwork(config) if config.streaming else Network(config)
