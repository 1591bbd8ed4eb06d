"""The command ``tisdiss-rt train``."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from .config import ConfigError, read_yaml
from .data import speech_folder
from .training import Trainer, train, trainer_from_state

CONFIGS = Path(__file__).parent / "configs"


@click.command(name="train")
@click.option("--config", help="Training file, or the name of a shipped one (edge-16k).")
@click.option(
    "--resume", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="state.pt to go on from."
)
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("runs/edge-16k")
)
@click.option(
    "--speech", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder with train/."
)
@click.option("--device", default="auto", help="auto, cpu or cuda.")
@click.option("--minutes", type=float, help="Stop after this time; the state can be resumed.")
@click.option("--evaluate-every", type=int, default=200, show_default=True, help="Steps.")
@click.option("--compile/--no-compile", "compile_parts", default=True, help="Compile the network's parts.")
def train_command(
    config: str | None,
    resume: Path | None,
    output: Path,
    speech: Path | None,
    device: str,
    minutes: float | None,
    evaluate_every: int,
    compile_parts: bool,
) -> None:
    """Train a separator, or go on with --resume; with both, --config replaces the training options."""
    speech = speech or speech_folder()
    if speech is None:
        raise click.ClickException("no speech found; name its folder with --speech or TISDISS_SPEECH")
    if config is None and resume is None:
        raise click.ClickException("give --config to start or --resume to go on")
    if resume is None and (output / "state.pt").exists():
        raise click.ClickException(
            f"{output / 'state.pt'} exists; go on with --resume or choose another --output"
        )
    name = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        options = (
            read_yaml(CONFIGS / f"{config}.yaml" if (CONFIGS / f"{config}.yaml").exists() else Path(config))
            if config
            else None
        )
        if resume is not None:
            trainer = trainer_from_state(
                resume, options and options[1], torch.device(name), speech, compile_parts
            )
        else:
            assert options is not None
            trainer = Trainer(*options, torch.device(name), speech, compile_parts)
    except (ConfigError, OSError, RuntimeError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"training on {name} from step {trainer.step} of {trainer.config.steps}, writing to {output}",
        err=True,
    )
    train(trainer, output, minutes, evaluate_every)
