"""A map that no constant linear field has for its flow, and moving weights have.

The flow of `y' = W y` is `exp(W)`, and a matrix with a negative eigenvalue that stands alone is the exponential of no
real matrix (Culver 1966, doi:10.1090/S0002-9939-1966-0202740-6). `diag(-0.5, -2)` is one. Exponentials with negative
eigenvalues have a pair of complex ones, or twice the same: `(a - d)^2 + 4 b c <= 0`. The nearest of these are
`[[-0.875, b], [-b, -1.625]]` with `|b| = 0.375`, which leave a mean squared error of 9/32 on standard normal points.
With weights that move (ANODEv2, arXiv 1906.04596) the flow is a product of exponentials, and may be any matrix with a
positive determinant.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from experiments.outcome import Outcome
from torchdyn_augment import ANODEv2, LearnedDynamics
from torchdyn_core import Fixed, NeuralODE, autonomous

STEPS = 1500
FLOOR = 9 / 32
MAP = torch.tensor([[-0.5, 0.0], [0.0, -2.0]])


def run(*, fast: bool) -> list[Outcome]:
    """Train three: constant weights, weights that move with the state, and on a grid of their own."""
    constant, together, apart = (_trained(kind, fast=fast) for kind in ("constant", "together", "grid"))
    name = "ANODEv2 on a map without a logarithm"
    return [
        Outcome(name, f"constant weights: mean squared error (none can have less than {FLOOR:.3f})", constant),
        Outcome(name, "weights that move with the state, less than a tenth of that floor", together, "<", FLOOR / 10),
        Outcome(name, "weights on their own grid, less than a tenth of it", apart, "<", FLOOR / 10),
        Outcome(name, "gradcheck of both configurations: relative difference", _gradient_error(), "<=", 1e-6),
    ]


def _layer(kind: str, dtype: torch.dtype = torch.float32) -> NeuralODE:
    net = nn.Linear(2, 2, bias=False).to(dtype)
    options = {"solver": "rk4", "controller": Fixed(steps=10)}
    if kind == "constant":
        return NeuralODE(autonomous(net), **options)
    dynamics = LearnedDynamics(net, width=8).to(dtype)
    nn.init.normal_(dynamics.wide.weight, std=0.1)
    field = ANODEv2(net, dynamics, grid=10 if kind == "grid" else None)
    return NeuralODE(field, augmentation=field.augmentation, **options)


def _trained(kind: str, *, fast: bool) -> float:
    """The loss on fresh points, after training."""
    torch.manual_seed(0)
    layer = _layer(kind)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    steps = 3 if fast else STEPS
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = _loss(layer, torch.randn(256, 2))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return float(_loss(layer, torch.randn(10_000, 2)))


def _loss(layer: NeuralODE, x: Tensor) -> Tensor:
    return nn.functional.mse_loss(layer(x), x @ MAP.to(x.dtype).T)


def _gradient_error() -> float:
    """The largest difference between a gradient and central differences, relative to the largest entry."""
    worst = 0.0
    for kind in ("together", "grid"):
        torch.manual_seed(0)
        layer = _layer(kind, torch.float64)
        x = torch.randn(4, 2, dtype=torch.float64)
        parameters = list(layer.parameters())
        exact = torch.autograd.grad(_loss(layer, x), parameters)
        for parameter, grad in zip(parameters, exact, strict=True):
            flat, differences = parameter.detach().view(-1), []
            for place in range(flat.numel()):
                before = flat[place].item()
                values = []
                for step in (1e-5, -1e-5):
                    flat[place] = before + step
                    with torch.no_grad():
                        values.append(float(_loss(layer, x)))
                flat[place] = before
                differences.append((values[0] - values[1]) / 2e-5)
            error = (grad.reshape(-1) - torch.tensor(differences, dtype=torch.float64)).abs().max()
            worst = max(worst, float(error / grad.abs().max().clamp(min=1e-3)))
    return worst
