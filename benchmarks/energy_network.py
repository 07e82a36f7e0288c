"""A field that differentiates: the Hamiltonian flow of an energy network."""

from __future__ import annotations

from collections.abc import Callable

import jax
import torch
from torch import Tensor, nn

from benchmarks import mlp_training
from benchmarks.compare import compare
from benchmarks.measure import Comparison
from benchmarks.problem import Problem
from benchmarks.sides import by_diffrax, by_torchdiffeq, ours
from torchdyn_core import VectorField


class HamiltonianNet(VectorField):
    """`dq/dt = dH/dp`, `dp/dt = -dH/dq`, for an energy H to be learned."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1, bias=False)  # a constant of the energy moves nothing
        self.energy = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), last)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        with torch.enable_grad():
            z = y if y.requires_grad else y.detach().requires_grad_()
            slope = torch.autograd.grad(self.energy(z).sum(), z, create_graph=True)[0]
        dq, dp = slope.chunk(2, -1)
        return torch.cat((dp, -dq), -1)


def in_jax(y: jax.Array, *parameters: jax.Array) -> jax.Array:
    """The slope."""
    nothing = jax.numpy.zeros(1)
    slope = jax.grad(lambda z: mlp_training.in_jax(z, *parameters, nothing).sum())(y)
    dq, dp = jax.numpy.split(slope, 2, axis=-1)
    return jax.numpy.concatenate((dp, -dq), -1)


def problem() -> Problem:
    """A batch of states that share one step size."""
    torch.manual_seed(0)
    return Problem(
        name="Energy network 2-32-32-1, batch 64, float64, t in [0, 5], training step",
        field=HamiltonianNet(32).double(),
        y0=torch.randn(64, 2, dtype=torch.float64),
        ts=torch.tensor([0.0, 5.0], dtype=torch.float64),
        tolerance=1e-7,
        gradient=True,
    )


def training(*, fast: bool) -> list[Comparison]:
    """The training step, compiled."""
    given = problem()
    peers = [by_torchdiffeq.direct(given).at_least(4.0), by_diffrax.contender(given, in_jax)]
    return compare(given, [ours.compiled(given)], peers, fast=fast)


ROWS: dict[str, Callable[..., list[Comparison]]] = {"energy-network": training}
