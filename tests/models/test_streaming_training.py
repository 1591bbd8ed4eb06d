"""Training of networks for streams: what is judged is what a stream gives, at depths that change."""

import dataclasses
import math
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from synthetic import RATE, write_corpus

from tisdiss_models import (
    CheckpointError,
    NetworkConfig,
    SceneConfig,
    TrainingConfig,
    load_checkpoint,
    save_checkpoint,
)
from tisdiss_models.acoustics import draw_batch
from tisdiss_models.causal import Memory
from tisdiss_models.cli import CONFIGS, train_command
from tisdiss_models.depth_loss import StreamScorer
from tisdiss_models.distillation import map_loss_db
from tisdiss_models.losses import pairwise_soft_snr_db
from tisdiss_models.network import Network
from tisdiss_models.options import read_yaml, to_mapping
from tisdiss_models.streaming import build_network, memory_buffers
from tisdiss_models.training import Trainer, draw_depths, trainer_from_state
from tisdiss_models.validation import evaluate

NETWORK = NetworkConfig(
    sample_rate=RATE, n_fft=128, hop=32, bands=(4, 4, 8, 16, 32), dim=8, norm_groups=2, heads=1,
    attention_dim=4, ffn_dims=(8, 8), separator_repeats=1, splitter="conv2d", trained_depth=2, head_dim=16,
    lookback=20,
)  # fmt: skip
RECURRENT = dataclasses.replace(NETWORK, lookback=0, recurrent_dim=8)
KINDS = pytest.mark.parametrize("config", [NETWORK, RECURRENT], ids=["lookback", "recurrent"])
OFFLINE = dataclasses.replace(NETWORK, lookback=0, hop=64)
TRAINING = TrainingConfig(
    steps=60, batch=4, crop_s=0.25, learning_rate=1e-2, warmup_steps=5, ema=0.9,
    depth_weights=(0.5, 1.0, 1.0),
    extra_depth=1, extra_depth_share=0.25, validation_speakers=2, scenes=SceneConfig(speed_range=0.05),
)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("speech"), 6, 4.5)


@pytest.fixture(autouse=True)
def short_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tisdiss_models.validation.MIXTURES", 4)
    monkeypatch.setattr("tisdiss_models.validation.CROP_S", 0.5)
    monkeypatch.setattr("tisdiss_models.training.CROP_S", 0.5)


def trainer(speech: Path, network: NetworkConfig = NETWORK) -> Trainer:
    return Trainer(network, TRAINING, CPU, speech, compile_parts=False)


@KINDS
def test_the_loss_falls_and_voices_that_were_not_trained_separate_better(
    speech: Path, config: NetworkConfig
) -> None:
    made = trainer(speech, config)
    before = evaluate(made.average, *made.validation["clean"], 2)
    losses = [float(made.train_step()) for _ in range(60)]
    assert sum(losses[-10:]) / 10 < sum(losses[:10]) / 10 - 2
    assert evaluate(made.average, *made.validation["clean"], 2)[2] > before[2] + 1


@KINDS
def test_the_scores_of_training_are_those_of_streams_at_every_depth(
    speech: Path, config: NetworkConfig
) -> None:
    made = trainer(speech, config)
    mix, sources = made.validation["clean"]
    scorer = made.scorer
    assert isinstance(scorer, StreamScorer)
    scorer.autocast = torch.autocast("cpu", enabled=False)
    steps = scorer.network.steps(mix).shape[1] // NETWORK.hop
    depths = torch.randint(1, 4, (steps, len(mix)), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores = scorer.scores_db(mix, sources, 3, 30.0, lambda _: depths)
        estimates = list(scorer.network.every_depth(mix, 3, depths))
    assert len(scores) == len(estimates) == 4
    for score, estimate in zip(scores, estimates, strict=True):
        expected = pairwise_soft_snr_db(estimate, sources, mix, 30.0)
        torch.testing.assert_close(score, expected, rtol=0, atol=1e-3)


@KINDS
def test_a_stream_goes_on_where_the_mixtures_before_ended(speech: Path, config: NetworkConfig) -> None:
    """The first mixtures at depth 1, so that deeper repetitions go on from what the first one remembers."""
    made = trainer(speech, config)
    mix, sources = made.validation["clean"]
    scorer, network = made.scorer, made.network
    scorer.autocast = torch.autocast("cpu", enabled=False)
    first = network.steps(mix.flip(0))
    frames = first.shape[1] // NETWORK.hop
    both = torch.cat([first, network.steps(mix)], 1)
    depths = torch.full((both.shape[1] // NETWORK.hop, len(mix)), 3)
    depths[:frames] = 1
    with torch.no_grad():
        alone = scorer.scores_db(mix, sources, 3, 30.0)
        scorer.scores_db(mix.flip(0), sources, 1, 30.0)
        scores = scorer.scores_db(mix, sources, 3, 30.0, goes_on=True)
        blank = network.blank(mix)
        z, spec = network.stem(both, Memory(blank["stem"]))
        expected, newest = [], None
        for n in range(4):
            if n:
                memory = Memory(blank["block"], network.ran(depths, n), newest)
                z, newest = network.block(z, memory), memory.newest
            wave = network.decoder(z[:, frames:], spec[:, :, frames:], Memory(blank["decoder"]))
            expected.append(pairwise_soft_snr_db(network.crop(wave, mix), sources, mix, 30.0))
    for score, right, other in zip(scores, expected, alone, strict=True):
        torch.testing.assert_close(score, right, rtol=0, atol=1e-3)
        assert (score - other).abs().max() > 0.01


@KINDS
def test_all_weights_of_a_stream_learn(speech: Path, config: NetworkConfig) -> None:
    made = trainer(speech, config)
    before = {k: v.clone() for k, v in made.network.named_parameters()}
    for _ in range(3):
        made.train_step()
    for name, parameter in made.network.named_parameters():
        assert not torch.equal(before[name], parameter), name


def test_a_resumed_run_goes_on_as_a_network_for_streams(speech: Path, tmp_path: Path) -> None:
    first = trainer(speech)
    first.train_step()
    first.save(tmp_path / "state.pt")
    resumed = trainer_from_state(tmp_path / "state.pt", None, CPU, speech, compile_parts=False)
    assert resumed.network.config == NETWORK
    network, _ = load_checkpoint(tmp_path / "state.pt")
    mix = resumed.validation["clean"][0]
    with torch.no_grad():
        torch.testing.assert_close(network(mix), first.average(mix))


def test_drawn_depths_are_at_the_full_depth_or_change_from_step_to_step() -> None:
    generator = torch.Generator().manual_seed(0)
    depths = draw_depths(100, 400, 0.5, 5, generator)
    assert depths.shape == (100, 400)
    fixed = (depths == 5).all(0)
    assert 150 < int(fixed.sum()) < 250
    switching = depths[:, ~fixed]
    assert set(switching.unique().tolist()) == {1, 2, 3, 4, 5}
    changes = (switching[1:] != switching[:-1]).float().mean(0)
    assert changes.min() < 0.05 and changes.max() > 0.6
    assert 2.5 < float(switching.float().mean()) < 3.5
    assert (draw_depths(100, 400, 0.0, 5, generator) == 5).all()


def test_a_new_run_takes_the_fitting_weights_of_another_network(speech: Path, tmp_path: Path) -> None:
    torch.manual_seed(9)
    offline = Network(OFFLINE)
    save_checkpoint(tmp_path / "offline.pt", offline, {})
    made = trainer(speech)
    fresh, added = made.start_from(tmp_path / "offline.pt")
    assert not added
    assert fresh and all(name.endswith("time_path.attention.bias") for name in fresh)
    own = made.network.state_dict()
    for name, value in offline.state_dict().items():
        if name in own and ".encoder.norm." not in name:
            torch.testing.assert_close(own[name], value, msg=name)
    torch.testing.assert_close(made.average.state_dict(), own)
    # What the encoder gives has the mean and the deviation that the offline norm gives: 0 and 1.
    mix = made.validation["clean"][0]
    stem = made.network.stem
    spec, scale = stem.analyse(made.network.steps(mix), Memory(made.network.blank(mix)["stem"]))
    with torch.no_grad():
        std, mean = torch.std_mean(stem.encoder(spec / scale))
    assert abs(float(mean)) < 1e-3 and float(std) == pytest.approx(1, abs=1e-2)


def test_a_new_run_takes_the_weights_of_a_network_for_streams_as_they_are(
    speech: Path, tmp_path: Path
) -> None:
    before = trainer(speech)
    before.start_from(_offline_checkpoint(tmp_path))
    before.save(tmp_path / "stream.pt")
    made = trainer(speech)
    assert made.start_from(tmp_path / "stream.pt") == ([], [])
    torch.testing.assert_close(made.network.state_dict(), before.network.state_dict(), rtol=0, atol=0)


def test_another_network_for_streams_gives_its_front_end_as_it_is(speech: Path, tmp_path: Path) -> None:
    before = trainer(speech)
    before.start_from(_offline_checkpoint(tmp_path))
    before.save(tmp_path / "stream.pt")
    made = trainer(speech, RECURRENT)
    fresh, _ = made.start_from(tmp_path / "stream.pt")
    assert all(".layers." in name or ".splitter." in name for name in fresh)
    for part in ("encoder.norm.bias", "encoder.linears.0.weight"):
        own, given = (t.network.state_dict()[f"stem.{part}"] for t in (made, before))
        torch.testing.assert_close(own, given, rtol=0, atol=0)


@pytest.mark.parametrize("config", [OFFLINE, NETWORK, RECURRENT], ids=["offline", "lookback", "recurrent"])
def test_layers_that_are_added_change_nothing_at_first(
    config: NetworkConfig, speech: Path, tmp_path: Path
) -> None:
    before = trainer(speech, config)
    before.save(tmp_path / "before.pt")
    deeper = dataclasses.replace(config, separator_layers=3, block_layers=2)
    made = trainer(speech, deeper)
    fresh, added = made.start_from(tmp_path / "before.pt")
    assert (fresh, added) == ([], ["block.layers.1", "stem.layers.1", "stem.layers.2"])
    mix = made.validation["clean"][0]
    with torch.no_grad():
        for depth in (0, 2):
            given, found = (t.average.every_depth(mix, depth) for t in (before, made))
            torch.testing.assert_close([*found], [*given])
    for _ in range(2):
        made.train_step()
    moved = made.network.state_dict()
    for layer in added:
        assert all(moved[name].any() for name in moved if name.startswith(layer) and name.endswith("weight"))


def _offline_checkpoint(folder: Path) -> Path:
    torch.manual_seed(9)
    save_checkpoint(folder / "offline.pt", Network(OFFLINE), {})
    return folder / "offline.pt"


def test_what_is_no_checkpoint_is_not_started_from(speech: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"other\.pt"):
        trainer(speech).start_from(tmp_path / "other.pt")


def test_the_command_starts_from_another_network(speech: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "offline.pt", Network(OFFLINE), {})
    values = {"network": to_mapping(NETWORK), "training": {**to_mapping(TRAINING), "steps": 2}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    run = ["--config", tmp_path / "tiny.yaml", "--speech", speech, "--no-compile", "-o", tmp_path / "run"]
    result = CliRunner().invoke(train_command, [str(a) for a in [*run, "--init", tmp_path / "offline.pt"]])
    assert result.exit_code == 0, result.output
    assert "starting at random: block.layers.0.time_path.attention.bias" in result.output
    assert (tmp_path / "run" / "state.pt").is_file()
    again = ["--resume", tmp_path / "run" / "state.pt", "--init", tmp_path / "offline.pt"]
    result = CliRunner().invoke(train_command, [str(a) for a in [*again, "--speech", speech]])
    assert result.exit_code == 1
    assert "--init" in result.output


def test_the_shipped_configuration_keeps_its_latency() -> None:
    network, training = read_yaml(CONFIGS / "live-16k.yaml")
    assert 2 * network.hop / network.sample_rate <= 0.020
    assert network.n_fft / network.sample_rate >= 0.032
    assert len(training.depth_weights) == network.trained_depth + 1


def test_a_repetition_of_the_shipped_network_remembers_less_than_a_megabyte() -> None:
    buffers = memory_buffers(read_yaml(CONFIGS / "live-16k.yaml")[0])["block"]
    assert sum(4 * math.prod(buffer.shape) for buffer in buffers.values()) < 1e6


@KINDS
def test_a_teacher_is_followed(speech: Path, tmp_path: Path, config: NetworkConfig) -> None:
    """Its maps are learnt by stem and block, and the decoder stays as it is."""
    torch.manual_seed(5)
    save_checkpoint(tmp_path / "teacher.pt", build_network(NETWORK), {})
    made = trainer(speech, config)
    made.learn_from(tmp_path / "teacher.pt", compile_parts=False)
    decoder = {name: value.clone() for name, value in made.network.decoder.state_dict().items()}
    losses = [float(made.train_step()) for _ in range(60)]
    assert sum(losses[-10:]) / 10 < sum(losses[:10]) / 10 - 3
    assert all(torch.equal(value, decoder[name]) for name, value in made.network.decoder.state_dict().items())


def test_several_processes_draw_what_one_draws(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mixture has depths of its own, whoever takes it."""
    made = trainer(speech, RECURRENT)
    made.scorer.autocast = torch.autocast("cpu", enabled=False)
    mix, voices = draw_batch(made.talkers, made.config.scenes, 5, 0.25, torch.Generator().manual_seed(3))
    drawn, draw = [], draw_depths

    def noted(*arguments: object) -> torch.Tensor:
        drawn.append(draw(*arguments))
        return drawn[-1]

    monkeypatch.setattr("tisdiss_models.training.draw_depths", noted)
    monkeypatch.setattr("tisdiss_models.training.add_up", lambda tensors: None)
    losses, following = [], []
    for places in (((0, 1),), ((0, 2), (1, 2)), ((0, 3), (1, 3), (2, 3))):
        losses.append(0.0)
        for place in places:
            monkeypatch.setattr("tisdiss_models.training.place", lambda place=place: place)
            made.generator.manual_seed(8)
            losses[-1] += float(made._accumulate(mix, voices, 3))
            following.append(int(torch.randint(1000, (), generator=made.generator)))
    assert losses[1:] == pytest.approx(losses[:1] * 2, abs=1e-4)
    assert len(set(following)) == 1
    assert not all(torch.equal(one, drawn[0]) for one in drawn[:5])


def test_a_network_is_its_own_best_teacher(speech: Path, tmp_path: Path) -> None:
    for config in (NETWORK, RECURRENT, OFFLINE):
        made = trainer(speech, config)
        made.save(tmp_path / "own.pt")
        made.learn_from(tmp_path / "own.pt", compile_parts=False)
        made.network.load_state_dict(made.average.state_dict())
        assert float(made.train_step()) < -100


@KINDS
def test_a_batch_is_as_far_from_a_teacher_as_its_mixtures(config: NetworkConfig) -> None:
    """In the mean: on a CPU they are judged one by one."""
    torch.manual_seed(5)
    network, teacher = (build_network(each).make_scorer(False) for each in (config, NETWORK))
    mix = torch.randn(3, 4000) * torch.tensor([[1.0], [0.1], [0.01]])
    with torch.no_grad():
        whole = float(map_loss_db(network, teacher, mix, 2))
        parts = [float(map_loss_db(network, teacher, each[None], 2)) for each in mix]
    assert math.isclose(whole, sum(parts) / 3, abs_tol=1e-3)
    assert max(parts) - min(parts) > 0.01


def test_the_command_learns_from_a_teacher_that_fits(speech: Path, tmp_path: Path) -> None:
    values = {"network": to_mapping(RECURRENT), "training": {**to_mapping(TRAINING), "steps": 2}}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(values))
    run = ["--config", tmp_path / "tiny.yaml", "--speech", speech, "--no-compile", "-o", tmp_path / "run"]
    for change in ({"dim": 16}, {"hop": 64}, {"lookback": 0}, {}):
        teacher = tmp_path / "teacher.pt"
        save_checkpoint(teacher, build_network(dataclasses.replace(NETWORK, **change)), {})
        result = CliRunner().invoke(
            train_command, [str(a) for a in [*run, "--teacher", teacher, "--init", teacher]]
        )
        assert result.exit_code == (1 if change else 0), result.output
        assert ("Error: the teacher's maps do not fit: " in result.output) == bool(change)
        assert (tmp_path / "run").exists() != bool(change)
