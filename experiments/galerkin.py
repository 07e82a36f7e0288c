"""Weights that vary with depth separate a disc from the annulus around it in the plane itself.

Settings of Massaroli et al. 2020 (arXiv 2002.08071): 1024 fresh points a step, mean squared error against -1 and 1,
AdamW 1e-3 with weight decay 1e-6, 2000 steps, dopri5 to 1e-5, a linear layer behind it. The network is 2-16-16-2 with
tanh, its middle layer in a Fourier basis of 5 harmonics. Beside it, with a wider middle that makes as many parameters:
the network with constant weights, and for orientation the same with depth as a feature.
"""

from __future__ import annotations

import torch
from torch import nn

from experiments.annuli import points
from experiments.outcome import Outcome
from torchdyn_augment import DepthConcat, DepthSequential, Fourier, GalerkinLinear
from torchdyn_core import PID, NeuralODE, VectorField, autonomous

STEPS = 2000


def run(*, fast: bool) -> list[Outcome]:
    """Train both."""
    torch.manual_seed(0)
    varying: VectorField = DepthSequential(
        nn.Linear(2, 16), nn.Tanh(), GalerkinLinear(16, 16, Fourier(5)), nn.Tanh(), nn.Linear(16, 2)
    )
    width = 52  # as many parameters as 11 functions of depth make
    fields = (varying, autonomous(_net(2, width)), DepthConcat(autonomous(_net(3, width))))
    losses = [_trained(field, fast=fast) for field in fields]
    sizes = [sum(p.numel() for p in field.parameters()) for field in fields]
    name = "Galerkin on annuli, no augmentation"
    return [
        Outcome(name, f"mean squared error, last 100 of {STEPS} steps, {sizes[0]} parameters", losses[0], "<=", 0.10),
        Outcome(name, f"the same, against constant weights with {sizes[1]} parameters", losses[0], "<", losses[1]),
        Outcome(name, f"constant weights and depth as a feature, {sizes[2]} parameters", losses[2]),
    ]


def _net(inputs: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))


def _trained(field: VectorField, *, fast: bool) -> float:
    """The mean loss of the last hundred steps, on points that are fresh at every step."""
    layer = NeuralODE(field, solver="dopri5", controller=PID(rtol=1e-5, atol=1e-5), compile=not fast)
    model = nn.Sequential(layer, nn.Linear(2, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-6)
    losses = []
    for step in range(3 if fast else STEPS):
        x, y = points(step)
        rows = torch.randperm(len(x))[:1024]
        loss = nn.functional.mse_loss(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-100:]) / len(losses[-100:])
