"""Random numbers for one batch of mixtures, without the host ever waiting for a GPU.

What a part needs to know before it computes (which mixtures have it, how many there are) is drawn on the
CPU and sent along; long random signals are drawn where they are used, from a seed that comes from the CPU.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Draw:
    """Draws the parameters of a batch.

    Args:
        generator: on the CPU; the source of all randomness.
        device: where results are used.
    """

    def __init__(self, generator: torch.Generator, device: torch.device) -> None:
        self.generator, self.device = generator, device
        seed = int(torch.randint(2**62, (), generator=generator))
        self._signals = torch.Generator(device).manual_seed(seed)

    def uniform(self, *shape: int, span: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """Return even numbers from `span`, float32 of any shape."""
        low, high = span
        return self.sent(low + (high - low) * torch.rand(*shape, generator=self.generator))

    def whole(self, below: int, *shape: int) -> Tensor:
        """Return even whole numbers from 0 up to, not including, `below`, of any shape."""
        return self.sent(torch.randint(below, shape, generator=self.generator))

    def sign(self, *shape: int) -> Tensor:
        """Return -1 or 1, of any shape."""
        return 2.0 * self.whole(2, *shape) - 1

    def rows(self, count: int, share: float) -> Tensor:
        """Return the indices of those out of `count` mixtures that have a part of this share."""
        return self.sent((torch.rand(count, generator=self.generator) < share).nonzero()[:, 0])

    def noise(self, *shape: int) -> Tensor:
        """Return white noise of variance 1, of any shape."""
        return torch.randn(*shape, generator=self._signals, device=self.device)

    def even(self, *shape: int) -> Tensor:
        """Return even numbers from 0 to 1 of any shape, for what is as long as a signal."""
        return torch.rand(*shape, generator=self._signals, device=self.device)

    def sent(self, numbers: Tensor) -> Tensor:
        """Move numbers that were made on the CPU to the device."""
        if self.device.type == "cuda":
            return numbers.pin_memory().to(self.device, non_blocking=True)
        return numbers.to(self.device)
