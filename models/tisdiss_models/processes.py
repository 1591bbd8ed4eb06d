"""One training run in several processes of one machine, which ``torchrun`` starts.

All of them draw the same mixtures. Each puts its share through the network, and updates its own copy of the
weights by the gradients of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed
from torch import Tensor


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes while the block runs, if ``torchrun`` started this one."""
    if not (torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()):
        yield
        return
    torch.distributed.init_process_group("gloo", timeout=timedelta(days=1))  # while the first evaluates
    try:
        yield
    finally:  # its threads must not outlive what they use
        torch.distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """Return the number of this process, from 0 on, and how many there are."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def add_up(tensors: Sequence[Tensor]) -> None:
    """Add up tensors of the same shapes over all processes, in place."""
    if place()[1] == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def in_any(*flags: bool) -> list[bool]:
    """Return for each flag whether it is up in any process; all of them must ask."""
    up = torch.tensor(flags, dtype=torch.float32)
    add_up([up])
    return (up > 0).tolist()
