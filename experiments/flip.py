"""The one-dimensional flip: a neural ODE cannot exchange -1 and 1; with one more dimension it can.

Settings of Dupont et al. 2019 (arXiv 1904.01681), section 3: 500 points, a network 2-16-16-1 of state and depth with
ReLU, dopri5 to 1e-3, smooth L1 loss, Adam 5e-4, 50 epochs of batches of 32. A flow on the line keeps the order of
points, so that the best it can do is 0 for both: a loss of 0.5.
"""

from __future__ import annotations

from statistics import mean

import torch
from torch import nn

from experiments.outcome import Outcome
from experiments.training import epoch
from torchdyn_augment import DepthConcat, ZeroAugmentation
from torchdyn_core import PID, NeuralODE, autonomous

SEEDS = (0, 1, 2)


def run(*, fast: bool) -> list[Outcome]:
    """Train both on three seeds."""
    plain, augmented = ([_trained(dims, seed, fast=fast) for seed in SEEDS[: 1 if fast else None]] for dims in (0, 1))
    name, paper = "1-D flip", "stuck at 0.514 (batches 0.505 to 0.532)"
    return [
        Outcome(name, "plain: least smooth L1 of three seeds", min(plain), ">=", 0.48, paper),
        Outcome(name, "plain: largest", max(plain), "<=", 0.56),
        Outcome(name, "one augmented dimension: largest smooth L1 of three seeds", max(augmented), "<=", 0.01, "to 0"),
        Outcome(name, "one augmented dimension: mean", mean(augmented)),
    ]


def _trained(dims: int, seed: int, *, fast: bool) -> float:
    """The loss in the last epoch."""
    torch.manual_seed(seed)
    width = 1 + dims
    net = nn.Sequential(nn.Linear(width + 1, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, width))
    model = NeuralODE(
        DepthConcat(autonomous(net)),
        solver="dopri5",
        controller=PID(rtol=1e-3, atol=1e-3),
        augmentation=ZeroAugmentation(dims) if dims else None,
        compile=not fast,
    )
    x = torch.randint(2, (500, 1)) * 2.0 - 1.0
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)
    loss = nn.SmoothL1Loss()
    last = 0.0
    for _ in range(1 if fast else 50):
        last = epoch(model, optimizer, loss, x, -x, 32)
    return last
