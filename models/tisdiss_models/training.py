"""Train a separator at all depths at once, resumable at any time, on a CPU or a GPU.

One step: draw mixtures, encode and split, repeat the block, decode the split and every repetition,
judge them together (`losses`), update. Now and then a few repetitions more than the trained depth are
run, so that going deeper at inference does no harm, and where it is asked for a few less, which takes less
time; a network for streams also learns to change its depth.
Weights are averaged (EMA); the average is what is evaluated and kept.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from .acoustics import draw_batch
from .checkpoint import CheckpointError, load_checkpoint, read_tensors, save_checkpoint
from .config import ConfigError, NetworkConfig, TrainingConfig
from .data import load_recordings
from .depth_loss import Scorer
from .distillation import check_teacher, map_loss_db
from .losses import multi_depth_loss
from .network import use_gemm
from .optimiser import Optimiser
from .options import from_mapping, to_mapping
from .processes import add_up, place
from .streaming import build_network
from .validation import CROP_S, validation_sets


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Return the learning rate: linear warm-up, constant, linear to zero over the last `decay_share`."""
    rising = min(1.0, (step + 1) / config.warmup_steps)
    falling = min(1.0, (config.steps - step) / (config.decay_share * config.steps))
    return config.learning_rate * rising * max(falling, 0.0)


def layer_of(weight: str) -> str | None:
    """Return the name of the layer that a weight is of; None where it is of another part."""
    found = re.match(r"\w+\.layers\.\d+", weight)
    return found and found[0]


def added_layers(own: Iterable[str], given: Iterable[str]) -> list[str]:
    """Return the layers of `own` weights that none of the `given` is of, in parts where some are given."""
    known = {layer for layer in map(layer_of, given) if layer}
    parts = {layer.split(".")[0] for layer in known}
    layers = {layer for layer in map(layer_of, own) if layer and layer.split(".")[0] in parts}
    return sorted(layers - known)


def draw_depths(
    steps: int, batch: int, switch_share: float, depth: int, generator: torch.Generator
) -> Tensor:
    """Draw how deep each step of a stream goes: (steps, batch), from 1 to `depth`.

    A share of the streams changes its depth, from now and then to at every step; the others are at `depth`.
    """
    device = generator.device
    rate = 10 ** (-2 * torch.rand(1, batch, device=device, generator=generator))
    changes = torch.rand(steps, batch, device=device, generator=generator) < rate
    drawn = torch.randint(1, depth + 1, (steps, batch), device=device, generator=generator)
    place = torch.arange(steps, device=device)[:, None]
    latest = torch.where(changes, place, 0).cummax(0).values
    switched = torch.rand(1, batch, device=device, generator=generator) < switch_share
    return torch.where(switched, drawn.gather(0, latest), depth)


class Trainer:
    """The whole state of a training run.

    Args:
        network_config, config: what to train and how.
        device: where.
        speech: folder of the recordings, see `load_recordings`.
        compile_parts: see `depth_loss.Scorer`.
        held_out: the speakers that a run before kept for validation, see `load_recordings`.

    Raises:
        ConfigError: if the sources are not two, the depth weights more than the depths, the mixtures fewer
            than the processes, or the speakers too few for both groups.
        ValueError: if the corpus cannot be read.
    """

    def __init__(
        self,
        network_config: NetworkConfig,
        config: TrainingConfig,
        device: torch.device,
        speech: Path,
        compile_parts: bool = True,
        held_out: Sequence[str] = (),
    ) -> None:
        if network_config.sources != 2:
            raise ConfigError(f"sources: training mixes two voices, not {network_config.sources}")
        if len(config.depth_weights) > network_config.trained_depth + 1:
            raise ConfigError(
                f"depth_weights: {len(config.depth_weights)} weights, but the depths are 0 to "
                f"{network_config.trained_depth}"
            )
        if config.batch < place()[1]:
            raise ConfigError(f"batch: {config.batch} mixtures are too few for {place()[1]} processes")
        if config.crop_s * network_config.sample_rate < 2 * network_config.n_fft:
            raise ConfigError(f"crop_s: {config.crop_s} s is less than two frames of the network")
        self.config, self.device = config, device
        torch.manual_seed(config.seed)
        self.network = build_network(network_config).to(device)
        use_gemm(self.network, device.type != "cpu")
        self.average = build_network(network_config).to(device).eval().requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = Optimiser(self.network, config.weight_decay)
        least_s = max(CROP_S, config.crop_s * (1 + config.scenes.speed_range)) + 0.01
        recordings = load_recordings(
            speech, network_config.sample_rate, least_s, config.validation_speakers, held_out
        )
        if config.scenes.field_share and recordings.noises is None:
            raise ConfigError(f"field_share: needs recorded noises, {speech / 'noise' / 'train'}")
        self.held_out = recordings.held_out
        self.validation = validation_sets(recordings)
        self.talkers = recordings.talkers.to(device)
        self.noises = recordings.noises.to(device) if recordings.noises else None
        self.scorer = self.network.make_scorer(compile_parts)
        self.teacher: Scorer | None = None
        self.generator = torch.Generator().manual_seed(config.seed)
        self.step = 0
        self.audio_s = 0.0

    def load(self, path: Path) -> None:
        """Go on from a saved state; random numbers start anew from seed and step."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.average.load_state_dict(state["weights"])
        self.network.load_state_dict(state["latest"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.audio_s = state["facts"]["steps"], state["facts"]["audio_s"]
        self.generator.manual_seed(self.config.seed + 1000003 * self.step)

    @torch.no_grad()
    def start_from(self, path: Path) -> tuple[list[str], list[str]]:
        """Take over the weights of another checkpoint that have the same name and shape.

        Layers that are added to those of the other network change nothing at first: a deeper network begins
        as good as that one. A network for streams has a fixed gain where an offline one has a norm over the
        whole mixture: it is set to what the norm does on average.

        Returns:
            The names of the weights that start at random, and of the layers that change nothing at first.

        Raises:
            CheckpointError: if the file is none.
        """
        state = read_tensors(path)
        weights = state.get("weights")
        if not isinstance(weights, dict) or not all(isinstance(v, Tensor) for v in weights.values()):
            raise CheckpointError(f"{path}: not a checkpoint of tisdiss-rt: weights missing")
        own = self.network.state_dict()
        fitting = {k: v for k, v in weights.items() if k in own and v.shape == own[k].shape}
        self.network.load_state_dict(fitting, strict=False)
        added = added_layers(own, fitting)
        for layer in added:
            for name, parameter in self.network.get_submodule(layer).named_parameters():
                if re.search(r"\b(out|deconv)\.", name):  # the last of what is added to the layer's input
                    parameter.zero_()
        source = state.get("network")
        if not isinstance(source, dict):
            raise CheckpointError(f"{path}: not a checkpoint of tisdiss-rt: network missing")
        was_offline = not any(source.get(name) for name in ("lookback", "recurrent_dim"))
        if was_offline:
            self.network.adopt_offline_norm(self.validation["clean"][0].to(self.device))
        self.average.load_state_dict(self.network.state_dict())
        fresh = [name for name in own if name not in fitting and layer_of(name) not in added]
        return sorted(fresh), added

    def learn_from(self, path: Path, compile_parts: bool = True) -> None:
        """Learn the feature maps of another checkpoint from now on: see `distillation`.

        Raises:
            CheckpointError: if the file is none.
            ConfigError: if its feature maps have another shape.
        """
        teacher, _ = load_checkpoint(path)
        check_teacher(self.network.config, teacher.config)
        teacher = teacher.to(self.device)
        use_gemm(teacher, self.device.type != "cpu")
        self.teacher = teacher.make_scorer(compile_parts)

    def save(self, path: Path) -> None:
        """Write a checkpoint of the averaged weights that training can go on from."""
        facts = {
            "steps": self.step,
            "audio_s": self.audio_s,
            "training": to_mapping(self.config),
            "held_out": list(self.held_out),
        }
        save_checkpoint(
            path,
            self.average,
            facts,
            latest=self.network.state_dict(),
            optimiser=self.optimiser.state_dict(),
        )

    def _draw_depth(self) -> int:
        trained = self.network.config.trained_depth
        draw = random.Random(f"{self.config.seed} {self.step}")  # on the CPU: nothing waits for the GPU
        at = draw.random()
        if at < self.config.extra_depth_share:
            return trained + draw.randint(1, self.config.extra_depth)
        if at < self.config.extra_depth_share + self.config.shallow_share and trained > 1:
            return draw.randint(1, trained - 1)
        return trained

    def train_step(self) -> Tensor:
        """Make one update and return the loss in dB (negative ratio), not yet synchronised."""
        config = self.config
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, config)
        mix, sources = draw_batch(
            self.talkers, config.scenes, config.batch, config.crop_s, self.generator, self.noises
        )
        depth = self._draw_depth()
        loss = self._accumulate(mix, sources, depth)
        for parameter in self.network.parameters():
            if parameter.grad is not None:  # a teacher says nothing about the decoder
                parameter.grad.nan_to_num_(0.0, 0.0, 0.0)  # one bad batch must not end a long run
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
        self.step += 1
        self.audio_s += config.batch * config.crop_s
        return loss

    def _accumulate(self, mix: Tensor, sources: Tensor, depth: int) -> Tensor:
        """Compute the loss of a batch and its gradients, of which each process does its share.

        On a CPU the mixtures go through the network one by one and their gradients add up to those of the
        batch: the maps of one mixture stay in the cache, those of a batch do not.
        """
        at_once = 1 if self.device.type == "cpu" else len(mix)
        process, processes = place()
        # A mixture has random numbers of its own, the same in whatever process takes it.
        seeds = torch.randint(2**62, (len(mix),), generator=self.generator).tolist()
        total = torch.zeros((), device=self.device)
        for part in torch.arange(len(mix)).split(at_once)[process::processes]:
            generator = torch.Generator().manual_seed(seeds[part[0]])
            loss = self._loss(mix[part], sources[part], depth, generator) * (len(part) / len(mix))
            loss.backward()
            total += loss.detach()
        add_up([total, *(p.grad for p in self.network.parameters() if p.grad is not None)])
        return total

    def _loss(self, mix: Tensor, sources: Tensor, depth: int, generator: torch.Generator) -> Tensor:
        """Judge all depths of mixtures (B, samples) together, in dB."""
        if self.teacher is not None:
            return map_loss_db(self.scorer, self.teacher, mix, depth)
        config = self.config

        def draw(steps: int) -> Tensor:
            drawn = draw_depths(steps, len(mix), config.switch_share, depth, generator)
            return drawn.to(self.device)

        share = config.carried_share
        goes_on = share > 0 and bool(torch.rand((), generator=generator) < share)
        scores = self.scorer.scores_db(mix, sources, depth, config.soft_limit_db, draw, goes_on)
        beyond = depth + 1 - len(config.depth_weights)
        weights = [*config.depth_weights[: depth + 1], *[config.depth_weights[-1]] * beyond]
        return multi_depth_loss(scores, weights)


def trainer_from_state(
    path: Path, config: TrainingConfig | None, device: torch.device, speech: Path, compile_parts: bool = True
) -> Trainer:
    """Rebuild a run from its ``state.pt``; `config` replaces the training options stored there.

    Raises:
        CheckpointError: if the file is not the state of a run.
        ConfigError: if an option stored there is unknown.
        ValueError: if a voice that the run keeps for validation is not there any more.
    """
    state = read_tensors(path)
    if not {"network", "facts", "latest", "optimiser"} <= set(state):
        raise CheckpointError(f"{path}: not the state of a training run")
    facts = state["facts"]
    if not isinstance(facts, dict) or not {"steps", "audio_s", "training"} <= set(facts):
        raise CheckpointError(f"{path}: not the state of a training run")
    network = from_mapping(NetworkConfig, state["network"], str(path))
    stored = from_mapping(TrainingConfig, _with_scenes(facts["training"]), str(path))
    trainer = Trainer(network, config or stored, device, speech, compile_parts, facts.get("held_out", ()))
    try:
        trainer.load(path)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not the state of this network's training: {error}") from error
    return trainer


def _with_scenes(training: object) -> dict[str, object]:
    """Bring the options of a run of version 0.1.0, which knew clean voices only, into today's form."""
    options = dict(training) if isinstance(training, dict) else {}
    names = {"absent_share": "alone_share", "pause_share": "late_share"}
    moved = ("level_db", "speed_range", "equaliser_db", *names)
    scenes = {names.get(name, name): options.pop(name) for name in moved if name in options}
    if "level_db" in scenes:
        scenes["level_db"] = [0.0, scenes["level_db"]]
    return {**options, "scenes": scenes} if scenes else options
