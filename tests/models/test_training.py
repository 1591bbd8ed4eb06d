"""Training: it learns, stops and goes on, and what it writes is what is loaded."""

import dataclasses
import json
import math
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from click.testing import CliRunner
from synthetic import RATE, write_corpus

from tisdiss_models import (
    ConfigError,
    Network,
    NetworkConfig,
    SceneConfig,
    TrainingConfig,
    load_checkpoint,
    save_checkpoint,
)
from tisdiss_models.acoustics import draw_batch
from tisdiss_models.cli import CONFIGS, train_command
from tisdiss_models.data import load_corpus, speech_folder
from tisdiss_models.depth_loss import DepthScorer
from tisdiss_models.losses import multi_depth_loss, pairwise_soft_snr_db
from tisdiss_models.optimiser import Optimiser
from tisdiss_models.options import from_mapping, read_yaml, to_mapping
from tisdiss_models.running import _alone, _append, train
from tisdiss_models.streaming import build_network
from tisdiss_models.training import Trainer, learning_rate, trainer_from_state
from tisdiss_models.validation import evaluate

NETWORK = NetworkConfig(
    sample_rate=RATE, n_fft=64, hop=32, bands=(4, 4, 8, 16), dim=8, norm_groups=2, heads=1,
    attention_dim=4, ffn_dims=(8, 8), separator_repeats=1, splitter="conv2d", trained_depth=1, head_dim=16,
)  # fmt: skip
TRAINING = TrainingConfig(
    steps=60, batch=4, crop_s=0.25, learning_rate=1e-2, warmup_steps=5, ema=0.9, depth_weights=(0.5, 1.0),
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


def trainer(speech: Path, **changes: object) -> Trainer:
    config = dataclasses.replace(TRAINING, **changes)  # type: ignore[arg-type]
    return Trainer(NETWORK, config, CPU, speech, compile_parts=False)


def state(path: Path) -> dict:
    return torch.load(path, weights_only=True)


def assert_equal_weights(a: torch.nn.Module, b: torch.nn.Module, equal: bool = True) -> None:
    same = [torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(same) if equal else not any(same)


def test_the_loss_falls_and_voices_that_were_not_trained_separate_better(
    speech: Path, tmp_path: Path
) -> None:
    made = trainer(speech)
    before = evaluate(made.average, *made.validation["clean"], 1)
    losses = [float(made.train_step()) for _ in range(60)]
    assert sum(losses[-10:]) / 10 < sum(losses[:10]) / 10 - 2
    after = evaluate(made.average, *made.validation["clean"], 1)
    assert after[1] > before[1] + 1


def test_the_scores_of_training_are_those_of_the_network_at_every_depth(speech: Path) -> None:
    made = trainer(speech)
    mix, sources = made.validation["clean"]
    with torch.no_grad():
        scorer = DepthScorer(made.network, compile_parts=False)
        scorer.autocast = torch.autocast("cpu", enabled=False)
        scores = scorer.scores_db(mix, sources, 2, 30.0)
        estimates = [made.network(mix, depth) for depth in range(3)]
        for score, estimate in zip(scores, estimates, strict=True):
            # Entry (i, j) is estimate i against source j.
            pairs = pairwise_soft_snr_db(estimate.flip(1), sources.flip(1), mix, 30.0)
            one = multi_depth_loss([pairs], [1.0])
            best = torch.stack([score[:, 0, 0] + score[:, 1, 1], score[:, 0, 1] + score[:, 1, 0]]).max(0)
            assert float(-best.values.mean() / 2) == pytest.approx(float(one), abs=1e-3)


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="reads the flags of an x86 processor"
)
def test_bfloat16_is_taken_where_the_processor_multiplies_it(speech: Path) -> None:
    flags = Path("/proc/cpuinfo").read_text().split()
    with trainer(speech).scorer.autocast:
        assert torch.is_autocast_enabled("cpu") == ("avx512_bf16" in flags)


def test_a_resumed_run_goes_on_where_it_stopped(speech: Path, tmp_path: Path) -> None:
    first = trainer(speech)
    for _ in range(7):
        first.train_step()
    first.save(tmp_path / "state.pt")
    resumed = trainer_from_state(tmp_path / "state.pt", None, CPU, speech, compile_parts=False)
    assert (resumed.step, resumed.config, resumed.audio_s) == (7, TRAINING, pytest.approx(7.0))
    assert_equal_weights(resumed.network, first.network)
    assert_equal_weights(resumed.average, first.average)
    again = trainer_from_state(tmp_path / "state.pt", None, CPU, speech, compile_parts=False)
    for one in (resumed, again):
        one.train_step()
    assert resumed.optimiser.param_groups[0]["lr"] == pytest.approx(learning_rate(7, TRAINING))
    assert resumed.step == 8
    assert_equal_weights(resumed.network, again.network)
    muon, adamw = resumed.optimiser.muon.state, resumed.optimiser.adamw.state
    assert {*muon, *adamw} == set(resumed.network.parameters())
    assert all(int(state["step"]) == 8 for state in adamw.values())
    assert all(state["momentum_buffer"].any() for state in muon.values())


def test_a_run_of_adamw_alone_goes_on(speech: Path, tmp_path: Path) -> None:
    """States of earlier versions have other moments, which begin anew."""
    first = trainer(speech)
    first.train_step()
    first.save(tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    alone = torch.optim.AdamW(first.network.parameters())
    torch.save({**state, "optimiser": alone.state_dict()}, tmp_path / "state.pt")
    resumed = trainer_from_state(tmp_path / "state.pt", None, CPU, speech, compile_parts=False)
    resumed.train_step()
    assert resumed.step == 2
    muon, adamw = resumed.optimiser.muon.state, resumed.optimiser.adamw.state
    assert {*muon, *adamw} == set(resumed.network.parameters())


def test_matrices_are_updated_evenly_in_all_directions() -> None:
    """After one step of Muon the singular values of a change are about equal, whatever the gradient."""
    layer = torch.nn.Linear(24, 16)
    before = layer.weight.detach().clone()
    optimiser = Optimiser(layer, weight_decay=0.0)
    for group in optimiser.param_groups:
        group["lr"] = 0.01
    (layer(torch.randn(64, 24)) * torch.logspace(0, -0.5, 16)).square().mean().backward()
    optimiser.step()
    gradient = torch.linalg.svdvals(layer.weight.grad)
    assert gradient.min() < 0.2 * gradient.max()
    values = torch.linalg.svdvals(layer.weight.detach() - before)
    assert values.min() > 0.4 * values.max()
    rms = (layer.weight.detach() - before).square().mean().sqrt()
    assert float(rms) == pytest.approx(0.002, rel=0.3)  # as of AdamW, whatever the size


def test_a_resumed_run_may_have_other_training_options(speech: Path, tmp_path: Path) -> None:
    trainer(speech).save(tmp_path / "state.pt")
    other = dataclasses.replace(TRAINING, steps=90, learning_rate=1e-3)
    resumed = trainer_from_state(tmp_path / "state.pt", other, CPU, speech, compile_parts=False)
    assert resumed.config == other


def test_a_resumed_run_decays_weights_as_it_is_told(speech: Path, tmp_path: Path) -> None:
    trainer(speech).save(tmp_path / "state.pt")
    other = dataclasses.replace(TRAINING, weight_decay=0.5)
    resumed = trainer_from_state(tmp_path / "state.pt", other, CPU, speech, compile_parts=False)
    assert [group["weight_decay"] for group in resumed.optimiser.param_groups] == [0.5, 0.5, 0.0]


def test_a_resumed_run_keeps_the_same_voices_for_validation(speech: Path, tmp_path: Path) -> None:
    """Also where there are more voices now: none that it is judged by is ever trained with."""
    first = trainer(speech)
    first.save(tmp_path / "state.pt")
    more = tmp_path / "more"
    shutil.copytree(speech, more)
    files = sorted((more / "train").iterdir())
    for number in range(5):
        shutil.copy(files[0], more / "train" / f"{number}new-1-1{files[0].suffix}")
    resumed = trainer_from_state(tmp_path / "state.pt", None, CPU, more, compile_parts=False)
    assert len(resumed.talkers.lengths) == len(first.talkers.lengths) + 5
    assert resumed.held_out == first.held_out
    for scene, before in first.validation.items():
        torch.testing.assert_close(resumed.validation[scene], before)
    for path in files:
        if path.name.startswith(f"{first.held_out[0]}-"):
            (more / "train" / path.name).unlink()
    with pytest.raises(ValueError, match=f"no voice {first.held_out[0]}"):
        trainer_from_state(tmp_path / "state.pt", None, CPU, more, compile_parts=False)


def test_nobody_is_trained_with_and_judged_by(speech: Path, tmp_path: Path) -> None:
    shutil.copytree(speech / "train", tmp_path / "train")
    shutil.copytree(speech / "train", tmp_path / "validation")
    with pytest.raises(ValueError, match=r"speaks in train/ and in validation/"):
        trainer(tmp_path)


def test_a_state_file_loads_as_the_averaged_network(speech: Path, tmp_path: Path) -> None:
    made = trainer(speech)
    for _ in range(3):
        made.train_step()
    made.save(tmp_path / "state.pt")
    network, facts = load_checkpoint(tmp_path / "state.pt")
    assert_equal_weights(network, made.average)
    assert_equal_weights(network, made.network, equal=False)
    assert facts["steps"] == 3
    assert facts["audio_s"] == pytest.approx(3 * 4 * 0.25)
    assert from_mapping(TrainingConfig, facts["training"], "facts") == TRAINING


def test_mixtures_one_by_one_give_the_gradients_of_the_whole_batch(speech: Path) -> None:
    made = trainer(speech, batch=6)
    made.scorer.autocast = torch.autocast("cpu", enabled=False)
    mix, voices = draw_batch(made.talkers, made.config.scenes, 6, 0.25, torch.Generator().manual_seed(3))
    made._loss(mix, voices, 1, made.generator).backward()
    whole = [p.grad.clone() for p in made.network.parameters()]
    made.network.zero_grad()
    loss = made._accumulate(mix, voices, 1)
    assert float(loss) == pytest.approx(float(made._loss(mix, voices, 1, made.generator).detach()), abs=1e-4)
    for parameter, expected in zip(made.network.parameters(), whole, strict=True):
        torch.testing.assert_close(
            parameter.grad, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max())
        )


def test_the_shares_of_several_processes_add_up_to_the_batch(
    speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(speech, batch=5)
    made.scorer.autocast = torch.autocast("cpu", enabled=False)
    mix, voices = draw_batch(made.talkers, made.config.scenes, 5, 0.25, torch.Generator().manual_seed(3))
    loss = made._accumulate(mix, voices, 1)
    whole = [p.grad.clone() for p in made.network.parameters()]
    made.network.zero_grad()
    monkeypatch.setattr("tisdiss_models.training.add_up", lambda tensors: None)
    shares = []
    for process in range(2):
        monkeypatch.setattr("tisdiss_models.training.place", lambda process=process: (process, 2))
        shares.append(made._accumulate(mix, voices, 1))  # gradients of the second are added to the first's
    assert float(sum(shares)) == pytest.approx(float(loss), abs=1e-4)
    for parameter, expected in zip(made.network.parameters(), whole, strict=True):
        torch.testing.assert_close(
            parameter.grad, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max())
        )


def test_fewer_mixtures_than_processes_are_refused(speech: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tisdiss_models.training.place", lambda: (0, 2))
    with pytest.raises(ConfigError, match="1 mixtures are too few for 2 processes"):
        trainer(speech, batch=1)


def test_averaging_follows_the_network_at_first_and_slowly_later(speech: Path) -> None:
    made = trainer(speech)
    start = [p.detach().clone() for p in made.average.parameters()]
    made.train_step()  # the first step keeps a tenth
    for old, new, average in zip(start, made.network.parameters(), made.average.parameters(), strict=True):
        torch.testing.assert_close(average, (0.1 * old + 0.9 * new).detach(), atol=1e-6, rtol=1e-4)
    made.step = 1000
    old_average = [p.detach().clone() for p in made.average.parameters()]
    made.train_step()
    for old, new, average in zip(
        old_average, made.network.parameters(), made.average.parameters(), strict=True
    ):
        torch.testing.assert_close(average, (0.9 * old + 0.1 * new).detach(), atol=1e-6, rtol=1e-4)


def test_weights_change_at_every_step_and_norms_are_not_decayed(speech: Path) -> None:
    made = trainer(speech)
    decays = {id(p): g["weight_decay"] for g in made.optimiser.param_groups for p in g["params"]}
    for name, parameter in made.network.named_parameters():
        assert decays[id(parameter)] == (0.01 if parameter.ndim > 1 else 0.0), name


def test_a_batch_that_gives_no_number_leaves_the_weights_usable(
    speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(speech)
    monkeypatch.setattr(
        "tisdiss_models.training.draw_batch",
        lambda *_: (torch.full((4, 2000), torch.nan), torch.full((4, 2, 2000), torch.nan)),
    )
    made.train_step()
    assert all(p.isfinite().all() for p in made.network.parameters())


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    config = TrainingConfig(steps=1000, warmup_steps=100, learning_rate=2.0, decay_share=0.25)
    assert learning_rate(0, config) == pytest.approx(0.02)
    assert learning_rate(49, config) == pytest.approx(1.0)
    assert [learning_rate(step, config) for step in (99, 400, 750)] == pytest.approx([2.0] * 3)
    assert learning_rate(875, config) == pytest.approx(1.0)
    assert learning_rate(1000, config) == 0
    assert learning_rate(2000, config) == 0


def test_some_steps_go_deeper_than_trained_and_the_same_ones_every_time(speech: Path) -> None:
    made = trainer(speech)
    depths = []
    for step in range(200):
        made.step = step
        depths.append(made._draw_depth())
        assert made._draw_depth() == depths[-1]
    assert set(depths) == {1, 2}
    assert 25 < depths.count(2) < 80  # a quarter is expected


def test_some_steps_stop_before_the_trained_depth(speech: Path) -> None:
    config = dataclasses.replace(TRAINING, depth_weights=(0.2, 0.5, 0.8, 1.0), shallow_share=0.5)
    made = Trainer(dataclasses.replace(NETWORK, trained_depth=3), config, CPU, speech, compile_parts=False)
    depths = []
    for step in range(200):
        made.step = step
        depths.append(made._draw_depth())
    assert set(depths) == {1, 2, 3, 4}
    assert 70 < sum(depth < 3 for depth in depths) < 130  # half are expected
    made.step = depths.index(1)
    assert torch.isfinite(made.train_step())


def test_validation_speakers_are_not_trained_on_and_their_mixtures_are_fixed(speech: Path) -> None:
    made = trainer(speech)
    assert len(made.talkers.lengths) == 4
    again = trainer(speech, seed=5, scenes=SceneConfig(speed_range=0.2))
    assert torch.equal(made.validation["clean"][0], again.validation["clean"][0])
    held_out = {int(s) for s in trainer(speech, validation_speakers=4).talkers.starts}
    assert held_out < {int(s) for s in made.talkers.starts}
    torch.testing.assert_close(made.validation["clean"][0], made.validation["clean"][1].sum(1))
    assert "field-5" not in made.validation, "there are no recorded noises in this folder"


def test_people_and_noises_for_validation_come_from_their_own_folders(speech: Path, tmp_path: Path) -> None:
    shutil.copytree(speech, tmp_path, dirs_exist_ok=True)
    write_corpus(tmp_path / "others", 3, 4.5)
    (tmp_path / "others" / "train").rename(tmp_path / "validation")
    for path in (tmp_path / "validation").iterdir():
        path.rename(path.with_name(f"v{path.name}"))
    for part, hz in (("train", 2000), ("validation", 3000)):
        (tmp_path / "noise" / part).mkdir(parents=True)
        tone = 0.1 * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)
        soundfile.write(tmp_path / "noise" / part / "whistle.flac", tone, RATE)
    made = trainer(tmp_path, scenes=SceneConfig(field_share=1.0))
    assert (len(made.talkers.lengths), made.held_out) == (6, ())
    mix, voices = made.validation["field-5"]
    spectrum = torch.fft.rfft(mix - voices.sum(1)).abs().sum(0)
    assert int(spectrum.argmax()) * RATE / mix.shape[-1] == pytest.approx(3000, abs=5)
    assert made.noises is not None
    made.train_step()


def test_evaluation_finds_perfect_and_useless_separation(speech: Path) -> None:
    """A depth that gives the sources in the wrong order gains much, one that gives the mixture nothing."""
    made = trainer(speech)
    mix, sources = made.validation["clean"]

    class Oracle(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def every_depth(self, x: torch.Tensor, depth: int) -> Iterator[torch.Tensor]:
            yield x[:, None].repeat(1, 2, 1)
            yield sources.flip(1) + 1e-4 * torch.randn_like(sources)

    gains = evaluate(Oracle(), mix, sources, 1)  # type: ignore[arg-type]
    assert gains[0] == pytest.approx(0, abs=1e-2)
    assert gains[1] > 30


def test_a_run_writes_its_state_and_one_line_per_evaluation(
    speech: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "a"
    train(trainer(speech, steps=5), folder, None, evaluate_every=2)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert all(len(line["si_sdri_db"]["clean"]) == 4 for line in lines)  # depths 0 to 1 + 2
    assert state(folder / "state.pt")["facts"]["steps"] == 5
    assert "si_sdri_db" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_where_it_was(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(speech, steps=9)
    step = made.train_step

    def interrupted() -> torch.Tensor:
        if made.step == 5:
            raise KeyboardInterrupt
        return step()

    monkeypatch.setattr(made, "train_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(made, tmp_path, None, evaluate_every=1)
    assert state(tmp_path / "state.pt")["facts"]["steps"] == 5
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 6}\n')  # what a run leaves that is killed after its last save
        log.write('{"step": 5, "loss')  # and that of a full disk
    _append(tmp_path / "log.jsonl", '{"step": 4, "si_sdri_db": {}}')  # there is room again
    resumed = trainer_from_state(tmp_path / "state.pt", None, CPU, speech, compile_parts=False)
    train(resumed, tmp_path, None, evaluate_every=1)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 4, 6, 7, 8, 9]
    assert all("si_sdri_db" in line for line in lines)


def test_a_run_that_is_told_to_end_makes_its_step_and_saves(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(speech, steps=9)
    step, before = made.train_step, signal.getsignal(signal.SIGTERM)

    def told() -> torch.Tensor:
        if made.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step()

    monkeypatch.setattr(made, "train_step", told)
    with pytest.raises(KeyboardInterrupt):
        train(made, tmp_path, None, evaluate_every=6)
    assert state(tmp_path / "state.pt")["facts"]["steps"] == 6
    assert not (tmp_path / "log.jsonl").exists()  # an evaluation takes too long
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_full_disk_keeps_the_state_before(speech: Path, tmp_path: Path) -> None:
    code = """
import resource, sys
from pathlib import Path
from tisdiss_models.checkpoint import save_checkpoint
from tisdiss_models import Network, NetworkConfig
path = Path(sys.argv[1])
network = Network(NetworkConfig(dim=8, norm_groups=2, heads=1, attention_dim=4, ffn_dims=(8, 8)))
save_checkpoint(path, network, {"steps": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
try:
    save_checkpoint(path, network, {"steps": 2})
except OSError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "state.pt"], capture_output=True, text=True, check=True
    )
    assert "state.pt cannot be written" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert state(tmp_path / "state.pt")["facts"]["steps"] == 1


def test_a_run_stops_after_its_minutes(speech: Path, tmp_path: Path) -> None:
    train(trainer(speech, steps=100000), tmp_path, 0.0, evaluate_every=100)
    assert state(tmp_path / "state.pt")["facts"]["steps"] == 1


def options(folder: Path, **training: object) -> Path:
    values = {"network": to_mapping(NETWORK), "training": {**to_mapping(TRAINING), "steps": 3, **training}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    return folder / "tiny.yaml"


def command(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(train_command, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_the_command_trains_and_resumes(speech: Path, tmp_path: Path) -> None:
    run = ["--speech", speech, "--device", "cpu", "--no-compile", "-o", tmp_path / "run"]
    code, output = command("--config", options(tmp_path), *run)
    assert code == 0, output
    assert state(tmp_path / "run" / "state.pt")["facts"]["steps"] == 3
    longer = options(tmp_path, steps=5)
    code, output = command("--resume", tmp_path / "run" / "state.pt", "--config", longer, *run)
    assert code == 0, output
    assert "from step 3 of 5" in output
    assert state(tmp_path / "run" / "state.pt")["facts"]["steps"] == 5


def test_the_command_without_speech_says_how_to_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TISDISS_SPEECH", str(tmp_path / "none"))
    code, output = command("--config", options(tmp_path))
    assert code == 1
    assert "TISDISS_SPEECH" in output


def test_the_command_does_not_overwrite_a_run(speech: Path, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"precious")
    code, output = command("--config", options(tmp_path), "--speech", speech, "-o", tmp_path)
    assert code == 1
    assert "--resume" in output
    assert (tmp_path / "state.pt").read_bytes() == b"precious"
    (tmp_path / "state.pt").rename(tmp_path / "best.pt")
    (tmp_path / "log.jsonl").write_text('{"step": 9}\n')
    code, output = command("--config", options(tmp_path), "--speech", speech, "-o", tmp_path)
    assert code == 1
    assert "log.jsonl exists" in output
    assert (tmp_path / "log.jsonl").read_text() == '{"step": 9}\n'


def test_two_runs_do_not_write_to_one_folder(speech: Path, tmp_path: Path) -> None:
    run = ["--config", options(tmp_path), "--speech", speech, "--device", "cpu", "--no-compile"]
    (tmp_path / "run").mkdir()
    with _alone(tmp_path / "run"):
        code, output = command(*run, "-o", tmp_path / "run")
        assert code == 1
        assert "another run writes to" in output
    code, output = command(*run, "-o", tmp_path / "run")
    assert code == 0, output


@pytest.mark.parametrize(("steps", "told"), [(0, "nothing was trained"), (1, "--teacher teacher.pt goes on")])
def test_what_is_interrupted_says_how_to_go_on(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, told: str
) -> None:
    step = Trainer.train_step

    def interrupted(self: Trainer) -> torch.Tensor:
        if self.step == steps:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "train_step", interrupted)
    monkeypatch.chdir(tmp_path)
    save_checkpoint(tmp_path / "teacher.pt", build_network(NETWORK), {})
    run = ["--config", options(tmp_path), "--speech", speech, "--device", "cpu", "--no-compile", "-o", "run"]
    code, output = command(*run, "--teacher", "teacher.pt")
    assert (code, "take it over with --init teacher.pt" in output) == (1, True)
    code, output = command(*run, "--teacher", "teacher.pt", "--init", "teacher.pt")
    assert code == 1
    assert f"interrupted at step {steps}" in output and told in output
    assert ("--resume" in output) == (tmp_path / "run" / "state.pt").exists() == bool(steps)


def test_the_command_says_what_cannot_be_written(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(trainer: Trainer, path: Path) -> None:
        raise OSError(f"{path} cannot be written: no room")

    monkeypatch.setattr(Trainer, "save", full)
    run = ["--speech", speech, "--device", "cpu", "--no-compile", "-o", tmp_path / "run"]
    code, output = command("--config", options(tmp_path), *run)
    assert code == 1
    assert "ended at step 3: " in output
    assert "state.pt cannot be written: no room" in output


def test_a_run_without_a_step_leaves_no_state(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = trainer(speech)
    monkeypatch.setattr(made, "train_step", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(made, tmp_path, None, evaluate_every=1)
    assert not (tmp_path / "state.pt").exists()


@pytest.mark.parametrize("lonely", ["train", "validation"])
def test_one_speaker_alone_is_refused(speech: Path, tmp_path: Path, lonely: str) -> None:
    for part in ("train", "validation"):
        shutil.copytree(speech / "train", tmp_path / part)
    for path in (tmp_path / lonely).iterdir():
        path.rename(path.with_name(f"rec-{path.name}"))
    with pytest.raises(ValueError, match=f"{lonely}: one speaker, rec, and mixtures need two"):
        trainer(tmp_path)


def test_the_command_needs_something_to_start_from(speech: Path, tmp_path: Path) -> None:
    code, output = command("--speech", speech, "-o", tmp_path)
    assert code == 1
    assert "--config" in output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training: {step: 4}\n", "unknown option step"),
        ("network: {depth: 4}\n", "unknown option depth"),
        ("networks: {}\n", "network and training"),
        ("network: {hop: 60}\n", "hop"),
        ("network: [1]\n", "network"),
        ("a: [\n", "tiny.yaml"),
        ("training: {steps: 3}\ntraining: {batch: 2}\n", "training is there twice"),
        ("training: {steps: 3, steps: 4}\n", "steps is there twice"),
        (f"network: {{dim: {10**20}}}\n", "dim must be positive whole numbers of at most"),
        ("network: {trained_depth: 65}\n", "trained_depth must be at most 64"),
        ("training: {scenes: {gap_s: [-3, -1]}}\n", "gap_s: turns of"),
        ("training: {steps: 3e4}\n", "steps must be a whole number, not '3e4'"),
        ("training: {warmup_steps: 0}\n", "warmup_steps must be at least 1"),
        ("training: {depth_weights: []}\n", "depth_weights"),
        ("training: {ema: 2}\n", "ema must be from 0 to 1"),
        ("training: {shallow_share: 0.9}\n", "extra_depth_share + shallow_share exclude each other"),
        ("training: {shallow_share: 0.5, depth_weights: [0, 0, 1]}\n", "the first two depth_weights"),
        ("training: {learning_rate: fast}\n", "learning_rate must be a number, not 'fast'"),
        ("network: {bands: 16}\n", "bands must be a list"),
        ("network: {mask: 'false'}\n", "mask must be true or false"),
        ("network: {n_fft: 63, hop: 21}\n", "must be even"),
        ("network: {n_fft: 64, hop: 64}\n", "twice hop"),
        ("network: {1: 2}\n", "unknown option 1"),
        ("network: {bands: [0, 64]}\n", "bands must be positive whole numbers"),
        ("network: {ffn_dims: [-8, 8]}\n", "ffn_dims must be positive whole numbers"),
        (f"network: {{dim: {[[0] * 999] * 99}}}\n", "dim must be a whole number, not [[0, 0"),
        (9999 * "[", "not a YAML file of plain values"),
        ("training: {[steps]: 3}\n", "a key is no word"),
        ("training: {steps: 2001-99-99}\n", "not a YAML file of plain values"),
        ("training: {steps: !!timestamp x}\n", "not a YAML file of plain values"),
        ("training: {scenes: {speed_range: 1.0}}\n", "speed_range must be from 0 to 0.5"),
        ("training: {validation_speakers: 2, scenes: {field_share: 0.2}}\n", "needs recorded noises"),
        ("training: {crop_s: 0.002}\n", "crop_s: 0.002 s is less than two frames"),
    ],
)
def test_the_command_names_the_option_that_is_wrong(
    speech: Path, tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(text)
    code, output = command("--config", tmp_path / "tiny.yaml", "--speech", speech, "-o", tmp_path / "run")
    assert code == 1
    assert message in output
    assert len(output) < 1000
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments", [["--config", "no-such-config"], ["--config", "tiny", "--device", "abacus"]]
)
def test_the_command_answers_what_does_not_exist_with_one_line(
    speech: Path, tmp_path: Path, arguments: list[str]
) -> None:
    if arguments[1] == "tiny":
        arguments = ["--config", str(options(tmp_path)), *arguments[2:]]
    code, output = command(*arguments, "--no-compile", "--speech", speech, "-o", tmp_path / "run")
    assert code == 1
    assert output.startswith("Error: ") and output.count("\n") == 1
    assert "no-such-config" not in arguments or "edge-16k, live-16k" in output


def test_a_checkpoint_to_begin_with_says_of_what_network(speech: Path, tmp_path: Path) -> None:
    torch.save({"network": [1], "weights": {}}, tmp_path / "n.pt")
    run = ["--config", options(tmp_path), "--speech", speech, "--no-compile", "-o", tmp_path / "run"]
    code, output = command(*run, "--init", tmp_path / "n.pt")
    assert code == 1
    assert "n.pt: not a checkpoint of tisdiss-rt: network missing" in output


@pytest.mark.parametrize("own", [False, True])
def test_the_command_refuses_a_state_that_is_none(speech: Path, tmp_path: Path, own: bool) -> None:
    if own:
        save_checkpoint(tmp_path / "state.pt", Network(NETWORK), {})
    else:
        (tmp_path / "state.pt").write_bytes(b"no state")
    code, output = command("--resume", tmp_path / "state.pt", "--speech", speech, "-o", tmp_path)
    assert code == 1
    assert "state.pt" in output


def test_the_shipped_configuration_is_small_and_complete() -> None:
    network, training = read_yaml(CONFIGS / "edge-16k.yaml")
    assert (network.sample_rate, network.n_fft, network.hop, network.trained_depth) == (16000, 512, 256, 4)
    assert len(network.bands) == 40
    assert len(training.depth_weights) == network.trained_depth + 1


def test_numbers_as_yaml_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("training: {learning_rate: 1e-3, crop_s: 2}\n")
    training = read_yaml(tmp_path / "a.yaml")[1]
    assert (training.learning_rate, training.crop_s) == (0.001, 2.0)


def test_another_network_than_that_of_the_state_is_refused(speech: Path, tmp_path: Path) -> None:
    trainer(speech).save(tmp_path / "state.pt")
    values = {"network": {**to_mapping(NETWORK), "dim": 16}, "training": to_mapping(TRAINING)}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(values))
    run = ["--config", tmp_path / "other.yaml", "--speech", speech, "--device", "cpu", "--no-compile"]
    code, output = command("--resume", tmp_path / "state.pt", *run)
    assert code == 1
    assert "another network than that of" in output


def test_without_a_compiler_it_trains_all_the_same(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tisdiss_models.cli._has_compiler", lambda: False)
    run = ["--speech", speech, "--device", "cpu", "-o", tmp_path / "run"]
    code, output = command("--config", options(tmp_path), *run)
    assert code == 0, output
    assert "no C++ compiler found" in output


def test_networks_of_other_than_two_sources_are_refused(speech: Path) -> None:
    with pytest.raises(ConfigError, match="two voices, not 3"):
        Trainer(dataclasses.replace(NETWORK, sources=3), TRAINING, CPU, speech, compile_parts=False)


def test_more_depth_weights_than_depths_are_refused(speech: Path) -> None:
    with pytest.raises(ConfigError, match="depth_weights"):
        trainer(speech, depth_weights=(0.5, 1.0, 1.0))


@pytest.mark.parametrize("speakers", [1, 5])
def test_too_few_speakers_for_validation_or_training_are_refused(speech: Path, speakers: int) -> None:
    with pytest.raises(ConfigError, match="validation_speakers"):
        trainer(speech, validation_speakers=speakers)


def test_voices_shorter_than_a_crop_are_repeated(speech: Path) -> None:
    made = trainer(speech, crop_s=4.4)
    plain = load_corpus(speech / "train", RATE)
    least = math.ceil((4.4 * (1 + made.config.scenes.speed_range) + 0.01) * RATE)
    held_out = made.config.validation_speakers
    before = len(plain.samples[plain.starts[held_out] :][: plain.lengths[held_out]])
    assert before < least == made.talkers.lengths[0]
    voice = plain.samples[plain.starts[held_out] :][:before]
    found = made.talkers.samples[made.talkers.starts[0] :][:least]
    assert torch.equal(found[:before], voice)
    assert torch.equal(found[before:], voice.repeat(2)[: least - before])


def test_the_shipped_state_goes_on_with_the_real_corpus(tmp_path: Path) -> None:
    """With every twentieth talker of those to train on, as reading all takes most of a minute."""
    corpus = speech_folder()
    if corpus is None:
        pytest.skip("no speech corpus; name its folder with TISDISS_SPEECH")
    folder = tmp_path / "speech"
    (folder / "train").mkdir(parents=True)
    for part in ("validation", "noise"):
        (folder / part).symlink_to(corpus / part)
    for path in sorted((corpus / "train").iterdir())[::20]:
        (folder / "train" / path.name).symlink_to(path)
    state = Path(__file__).parents[2] / "benchmarks" / "states" / "edge-16k" / "state.pt"
    more = dataclasses.replace(read_yaml(CONFIGS / "edge-16k.yaml")[1], batch=1)
    made = trainer_from_state(state, more, CPU, folder, compile_parts=False)
    before = made.step
    assert math.isfinite(float(made.train_step()))
    assert made.step == before + 1
