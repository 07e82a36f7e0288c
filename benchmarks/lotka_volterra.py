"""Predator and prey, two numbers a sample: what a step costs beside its field."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.compare import compare
from benchmarks.measure import Comparison
from benchmarks.problem import Problem
from benchmarks.sides import by_diffrax, by_scipy, by_torchdiffeq, ours
from torchdyn_core import VectorField

F64 = torch.float64


class LotkaVolterra(VectorField):
    """Lotka and Volterra's equations; their four rates are parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.growth = nn.Parameter(torch.tensor([1.5, -3.0], dtype=F64))
        self.coupling = nn.Parameter(torch.tensor([-1.0, 1.0], dtype=F64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        return y * (self.growth + self.coupling * y.flip(-1))


def in_jax(y: jax.Array, growth: jax.Array, coupling: jax.Array) -> jax.Array:
    """The slope."""
    return y * (growth + coupling * jax.numpy.flip(y, -1))


def in_numpy(t: float, y: np.ndarray) -> list[float]:
    """The slope; on two numbers, Python is faster than NumPy."""
    prey, predator = y.tolist()
    return [prey * (1.5 - predator), predator * (prey - 3.0)]


def problem(*, batch: int | None = None, gradient: bool = False, t1: float = 20.0, tolerance: float = 1e-6) -> Problem:
    """One trajectory, or a batch of them that share one step size."""
    torch.manual_seed(0)
    y0 = torch.ones(2, dtype=F64) if batch is None else 0.5 + torch.rand(batch, 2, dtype=F64)
    size = "one trajectory" if batch is None else f"batch {batch}, one step size"
    return Problem(
        name=f"Lotka-Volterra, {size}, float64, t in [0, {t1:g}], forward{' and gradient' if gradient else ''}",
        field=LotkaVolterra().requires_grad_(gradient),
        y0=y0.requires_grad_(gradient),
        ts=torch.tensor([0.0, t1], dtype=F64),
        tolerance=tolerance,
        gradient=gradient,
    )


def eager(*, fast: bool) -> list[Comparison]:
    """The eager loop: overhead of a step."""
    given = problem()
    peer = by_torchdiffeq.direct(given).at_least(2.0)
    return compare(given, [ours.eager(given)], [peer], fast=fast, per="accepted step")


def forward(*, fast: bool) -> list[Comparison]:
    """One trajectory, compiled."""
    given = problem()
    peers = [
        by_torchdiffeq.direct(given).at_least(45.0),
        by_scipy.contender(given, in_numpy).at_least(3.0),
        by_diffrax.contender(given, in_jax),
    ]
    return compare(given, [ours.compiled(given)], peers, fast=fast)


def gradient(*, fast: bool) -> list[Comparison]:
    """One trajectory and its gradient, compiled."""
    given = problem(gradient=True)
    peers = [by_torchdiffeq.direct(given).at_least(55.0), by_diffrax.contender(given, in_jax)]
    return compare(given, [ours.compiled(given)], peers, fast=fast)


def batch_forward(*, fast: bool) -> list[Comparison]:
    """A batch, compiled."""
    given = problem(batch=1000)
    peers = [by_torchdiffeq.direct(given).at_least(35.0), by_diffrax.contender(given, in_jax).at_least(1.5)]
    return compare(given, [ours.compiled(given)], peers, fast=fast)


def batch_gradient(*, fast: bool) -> list[Comparison]:
    """A batch and its gradient, compiled."""
    given = problem(batch=1000, gradient=True)
    peers = [
        by_torchdiffeq.direct(given).at_least(20.0),
        by_diffrax.contender(given, in_jax).at_least(2.0),
        by_diffrax.contender(given, in_jax, checkpoints=256),
    ]
    return compare(given, [ours.compiled(given)], peers, fast=fast)


ROWS: dict[str, Callable[..., list[Comparison]]] = {
    "eager-lotka-volterra": eager,
    "lotka-volterra-forward": forward,
    "lotka-volterra-gradient": gradient,
    "lotka-volterra-1000-forward": batch_forward,
    "lotka-volterra-1000-gradient": batch_gradient,
}
