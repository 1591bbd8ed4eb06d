"""How weights are updated: matrices by Muon, all others by AdamW.

Muon gives the update of a matrix equal singular values (Newton-Schulz iterations on its momentum), so that
rare directions are learned as fast as common ones. Source: K. Jordan et al., "Muon: an optimizer for hidden
layers in neural networks", 2024; its updates are scaled as AdamW's are (arXiv 2502.16982), so that both take
the same learning rate.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import AdamW, Muon


class Optimiser:
    """Muon and AdamW side by side, with the part of the interface of an optimiser that training needs.

    Args:
        network: whose weights it updates.
        weight_decay: of all but what has one dimension: biases of most layers, gains and slopes.
    """

    def __init__(self, network: nn.Module, weight_decay: float) -> None:
        weights = list(network.parameters())
        matrices = [weight for weight in weights if weight.ndim == 2]
        vectors = [weight for weight in weights if weight.ndim < 2]
        others = [weight for weight in weights if weight.ndim > 2]
        groups = [
            {"params": others, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        self.muon = Muon(matrices, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.adamw = AdamW(groups, betas=(0.9, 0.98), fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Options by group of weights; ``lr`` may be set at any time."""
        return [*self.muon.param_groups, *self.adamw.param_groups]

    def step(self) -> None:
        """Update the weights by their gradients."""
        self.muon.step()
        self.adamw.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.muon.zero_grad()
        self.adamw.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` takes."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on as the optimiser that the state is from, but with the options of this one.

        The state of a run of AdamW alone is passed over: momenta begin anew, which costs a few steps.
        """
        if set(state) == {"state", "param_groups"}:
            return
        asked = [group["weight_decay"] for group in self.param_groups]
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])
        for group, weight_decay in zip(self.param_groups, asked, strict=True):
            group["weight_decay"] = weight_decay
