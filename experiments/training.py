"""One epoch, and what a model makes of a set: what the experiments have in common."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchdyn_core import NeuralODE

Loss = Callable[[Tensor, Tensor], Tensor]


def epoch(model: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, x: Tensor, y: Tensor, batch: int) -> float:
    """Train on all batches of a shuffled set; the mean loss on the way."""
    total = 0.0
    order = torch.randperm(len(x))
    for rows in order[: len(x) // batch * batch].split(batch):
        value = loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item()
    return total / max(len(x) // batch, 1)


def evaluations(layer: NeuralODE, x: Tensor) -> int:
    """Evaluations of the field in one forward pass."""
    with torch.no_grad():
        return layer.trajectory(x, (layer.t0, layer.t1)).stats.evaluations
