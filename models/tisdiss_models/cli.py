"""The command ``tisdiss-rt train``."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from click.core import ParameterSource

from .config import ConfigError, NetworkConfig, TrainingConfig
from .data import speech_folder
from .options import read_yaml
from .processes import joined, place
from .running import train
from .training import Trainer, trainer_from_state

CONFIGS = Path(__file__).parent / "configs"


@click.command(name="train")
@click.option("--config", help="Training file, or the name of a shipped one (edge-16k, live-16k).")
@click.option(
    "--resume", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="state.pt to go on from."
)
@click.option(
    "--init",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoint of another network to take fitting weights from.",
)
@click.option(
    "--teacher",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Checkpoint of another network whose feature maps to learn, instead of separating.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for state.pt and log.jsonl; by default runs/CONFIG, or that of --resume.",
)
@click.option(
    "--speech", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder with train/."
)
@click.option(
    "--voice", is_flag=True, help="Train a voiceprint, which tells talkers apart, instead of a separator."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--minutes", type=float, help="Stop after this time; the state can be resumed.")
@click.option(
    "--evaluate-every",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Steps from one evaluation to the next; on a CPU, one takes minutes.",
)
@click.option("--compile/--no-compile", "compile_parts", default=True, help="Compile the network's parts.")
def train_command(
    config: str | None,
    resume: Path | None,
    init: Path | None,
    teacher: Path | None,
    output: Path | None,
    speech: Path | None,
    voice: bool,
    device: str,
    minutes: float | None,
    evaluate_every: int,
    compile_parts: bool,
) -> None:
    """Train a separator, or go on with --resume; with both, --config replaces the training options."""
    speech = speech or speech_folder()
    if speech is None:
        raise click.ClickException("no speech found; name its folder with --speech or TISDISS_SPEECH")
    if voice:
        _refuse_for_voice(click.get_current_context())
        with joined():
            _train_voice(speech, output or Path("runs") / "voice")
        return
    if config is None and resume is None:
        raise click.ClickException("give --config to start or --resume to go on")
    if init and resume:
        raise click.ClickException("--init is for a new run; leave it out with --resume")
    if teacher and not (init or resume):
        raise click.ClickException(f"--teacher teaches no decoder: take it over with --init {teacher}")
    output = _output_folder(output, config, resume)
    with joined():
        device = _choose_device(device)
        compile_parts = compile_parts and _can_compile(device)
        try:
            trainer = _trainer(config, resume, init, teacher, torch.device(device), speech, compile_parts)
            output.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        _tell(f"training on {device} from step {trainer.step} of {trainer.config.steps}, writing to {output}")
        going_on = f"--resume {output / 'state.pt'}" + (f" --teacher {teacher}" if teacher else "")
        _run(trainer, output, minutes, evaluate_every, going_on)


def _tell(line: str) -> None:
    """Print a line to standard error, in one of several processes."""
    if place()[0] == 0:
        click.echo(line, err=True)


def _run(trainer: Trainer, output: Path, minutes: float | None, evaluate_every: int, going_on: str) -> None:
    """Train, and report what ends it early; ``going_on`` are the options that go on."""
    begun = trainer.step
    try:
        train(trainer, output, minutes, evaluate_every)
    except KeyboardInterrupt:
        told = f"{going_on} goes on" if trainer.step > begun else "nothing was trained by then"
        raise click.ClickException(f"interrupted at step {trainer.step}; {told}") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise click.ClickException(f"ended at step {trainer.step}: {error}") from error


def _output_folder(output: Path | None, config: str | None, resume: Path | None) -> Path:
    """Return the folder of a run, which must not hold the state of another one."""
    if output is None:
        output = resume.parent if resume else Path("runs") / Path(str(config)).stem
    state = output / "state.pt"
    if resume and state.exists() and state.samefile(resume):
        return output
    for there in (state, output / "log.jsonl"):
        if there.exists():
            raise click.ClickException(f"{there} exists; go on with --resume or choose another --output")
    return output


def _refuse_for_voice(context: click.Context) -> None:
    given = [
        option.opts[-1]
        for option in context.command.params
        if option.name not in ("voice", "speech", "output")
        and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.ClickException(f"--voice is trained at once, and has no {', '.join(given)}")


def _train_voice(speech: Path, output: Path) -> None:
    from .voiceprint import train_voiceprint

    if place()[1] > 1:
        raise click.ClickException("--voice trains in one process; start it without torchrun")
    state = output / "state.pt"
    if state.exists():
        raise click.ClickException(f"{state} exists; choose another --output")
    try:
        train_voiceprint(speech, state)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{state}: export it with --voice", err=True)


def _choose_device(device: str) -> str:
    has_cuda = torch.cuda.is_available()
    if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not has_cuda):
        raise click.ClickException(f"no device {device!r} here; leave --device to auto")
    chosen = ("cuda" if has_cuda else "cpu") if device == "auto" else device
    if chosen == "cuda" and place()[1] > 1:
        raise click.ClickException("several processes train on a CPU only; add --device cpu")
    return chosen


def _can_compile(device: str) -> bool:
    """Return whether parts can be compiled for the device; if not, print why."""
    if device != "cpu" or _has_compiler():
        return True
    _tell("no C++ compiler found: training without compiling takes longer")
    return False


def _has_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def _trainer(
    config: str | None,
    resume: Path | None,
    init: Path | None,
    teacher: Path | None,
    device: torch.device,
    speech: Path,
    compile_parts: bool,
) -> Trainer:
    options = None if config is None else _read(config)
    if resume:
        trainer = trainer_from_state(resume, options[1] if options else None, device, speech, compile_parts)
        if options and options[0] not in (NetworkConfig(), trainer.network.config):
            raise ConfigError(
                f"{config}: another network than that of {resume}; leave the section network out"
            )
        if trainer.step >= trainer.config.steps:
            raise ConfigError(
                f"{resume} is at step {trainer.step} of {trainer.config.steps}; a --config with more goes on"
            )
    else:
        assert options is not None
        trainer = Trainer(*options, device, speech, compile_parts)
        if init:
            fresh, added = trainer.start_from(init)
            _tell(f"starting at random: {', '.join(fresh) or 'nothing'}")
            if added:
                _tell(f"added, changing nothing at first: {', '.join(added)}")
    if teacher:
        trainer.learn_from(teacher, compile_parts)
    return trainer


def _read(config: str) -> tuple[NetworkConfig, TrainingConfig]:
    shipped = CONFIGS / f"{config}.yaml"
    path = shipped if shipped.exists() else Path(config)
    if not path.exists():
        names = ", ".join(sorted(each.stem for each in CONFIGS.glob("*.yaml")))
        raise ConfigError(f"{config}: no such training file; shipped are {names}")
    return read_yaml(path)
