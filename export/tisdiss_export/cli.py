"""The command ``tisdiss-rt export``."""

from __future__ import annotations

from pathlib import Path

import click

from tisdiss_models.checkpoint import CheckpointError
from tisdiss_models.config import ConfigError
from tisdiss_rt import TisdissError

from .exporter import ExportError, export_bundle
from .quantising import INT8


@click.command(name="export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder of the new bundle."
)
@click.option("--name", help="Name of the bundle; by default the folder's.")
@click.option("--data", help="What the network was trained on, for the manifest.")
@click.option("--data-licence", default="unknown", help="Licence of that data.")
@click.option("--licence", default="unknown", help="Licence of the weights.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice([INT8]),
    help="Carry stem and block in this precision, too; of offline bundles.",
)
@click.option(
    "--voice",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Voiceprint to carry: the state.pt of `train --voice`.",
)
@click.option(
    "--calibrate",
    "speech",
    metavar="SPEECH",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Speech folder as of `train`: learn on its validation people to tell how good results are.",
)
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
def export_command(
    checkpoint: Path,
    output: Path,
    name: str | None,
    data: str | None,
    data_licence: str,
    licence: str,
    precisions: tuple[str, ...],
    voice: Path | None,
    speech: Path | None,
    force: bool,
) -> None:
    """Turn CHECKPOINT (a .pt, a published .pth or config.yaml, or their folder) into a bundle."""
    try:
        exported = export_bundle(
            checkpoint,
            output,
            name=name,
            data=data,
            data_licence=data_licence,
            licence=licence,
            precisions=precisions,
            voice=voice,
            speech=speech,
            force=force,
        )
    except (CheckpointError, ConfigError, ExportError, TisdissError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    files = exported.manifest.files()
    size_kb = sum((exported.folder / f.path).stat().st_size for f in files) / 1000
    depth = exported.manifest.depth
    click.echo(f"{exported.folder}: {len(files)} files, {size_kb:.0f} kB, trained depth {depth.trained}")
