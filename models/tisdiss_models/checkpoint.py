"""Load a trained network from one file or folder, whoever wrote it, and save our own.

Two forms: our ``.pt`` (configuration, weights and facts in one file), and the published one (a
``config.yaml`` beside a ``.pth`` state dict). Files are untrusted: tensors only, never code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from .config import NetworkConfig
from .espnet_import import network_config, network_weights
from .network import Network
from .options import from_mapping, read_options, to_mapping
from .streaming import StreamingNetwork, build_network


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says which file or weight and why."""


def save_checkpoint(
    path: Path, network: Network | StreamingNetwork, facts: dict[str, Any], **more: Any
) -> None:
    """Write a ``.pt`` file, whole or not at all.

    Args:
        path: where to.
        network: its configuration and weights are stored.
        facts: plain values about it, e.g. steps and data.
        more: further tensors and plain values, e.g. what training needs to go on.

    Raises:
        OSError: if it cannot be written; what was there before stays.
    """
    content = {"network": to_mapping(network.config), "weights": network.state_dict(), "facts": facts}
    save_tensors(path, {**content, **more})


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all; raises OSError, and what was there stays."""
    part = path.with_name(path.name + ".part")
    try:
        torch.save(content, part)
        part.replace(path)
    except RuntimeError as error:  # what torch makes of a full disk
        raise OSError(f"{path} cannot be written: {_first_line(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> tuple[Network | StreamingNetwork, dict[str, Any]]:
    """Load a network for inference on the CPU.

    Args:
        path: a ``.pt`` file; a published ``.pth`` or its ``config.yaml``; or the folder of either.

    Returns:
        The network in evaluation mode and the facts stored with it (empty for published ones).

    Raises:
        CheckpointError: if nothing usable is found, or weights are missing, unexpected or misshapen.
        ConfigError: if the configuration has an option that is not supported.
        FileNotFoundError: if the path does not exist.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    weights_path, config_path = _find(path)
    content = read_tensors(weights_path)
    facts: dict[str, Any] = {}
    if config_path is None:
        if not all(isinstance(content.get(part), dict) for part in ("network", "weights", "facts")):
            raise CheckpointError(
                f"{weights_path}: not a checkpoint of tisdiss-rt: network, weights or facts missing"
            )
        config = from_mapping(NetworkConfig, content["network"], str(weights_path))
        if type(content["facts"].get("steps", 0)) is not int:
            raise CheckpointError(f"{weights_path}: steps are no whole number")
        weights, facts = _named(content["weights"], weights_path), content["facts"]
    else:
        config = network_config(read_options(config_path))
        weights = network_weights(_named(content, weights_path), config)
    try:
        network = build_network(config)
    except RuntimeError as error:  # no room for it
        raise CheckpointError(f"{weights_path}: cannot be built: {_first_line(error)}") from error
    _load_weights(network, weights, weights_path)
    return network.eval(), facts


def _find(path: Path) -> tuple[Path, Path | None]:
    """Return the weights file and, for the published form, the configuration beside it."""
    if path.suffix == ".pt":
        return path, None
    if path.is_file() and path.suffix != ".pth" and path.name != "config.yaml":
        raise CheckpointError(f"{path}: not a .pt or .pth file")
    folder = path if path.is_dir() else path.parent
    config = folder / "config.yaml"
    own: list[Path] = []
    if path.suffix == ".pth":
        found = [path]
    else:
        found = sorted(folder.glob("*.pth"))
        own = sorted(folder.glob("*.pt"))
        if not found and len(own) == 1:
            return own[0], None
    if len(found) != 1:
        names = ", ".join(p.name for p in found or own) or "none"
        raise CheckpointError(f"{folder}: expected one .pth or .pt file, found {names}; name the file")
    if not config.is_file():
        raise CheckpointError(f"{found[0]}: needs its config.yaml in the same folder")
    return found[0], config


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a file of tensors and plain values onto the CPU, never running code from it.

    Raises:
        CheckpointError: if it is none.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign or cut files torch raises nearly anything
        raise CheckpointError(f"{path}: not a checkpoint of tensors only: {_first_line(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, not a dictionary of weights")
    return content


def _named(weights: dict[Any, Any], path: Path) -> dict[str, torch.Tensor]:
    for name, tensor in weights.items():
        if not (isinstance(name, str) and isinstance(tensor, torch.Tensor)):
            raise CheckpointError(f"{path}: {name!r} is {type(tensor).__name__} instead of a named weight")
    return weights


def _load_weights(network: torch.nn.Module, weights: dict[str, Any], path: Path) -> None:
    wanted = network.state_dict()
    missing = sorted(set(wanted) - set(weights))
    unexpected = sorted(set(weights) - set(wanted))
    misshapen = [
        f"{k} {tuple(getattr(weights[k], 'shape', ()))} instead of {tuple(wanted[k].shape)}"
        for k in wanted
        if k in weights and getattr(weights[k], "shape", None) != wanted[k].shape
    ]
    problems = [
        f"{title}: {', '.join(names)}"
        for title, names in (
            ("missing weights", missing), ("unexpected weights", unexpected), ("wrong shape", misshapen)
        )
        if names
    ]  # fmt: skip
    if problems:
        raise CheckpointError(f"{path}: {'; '.join(problems)}")
    network.load_state_dict(weights)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
