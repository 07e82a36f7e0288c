"""Oscillators of unequal stiffness in one batch, each with steps of its own."""

from __future__ import annotations

from collections.abc import Callable

import jax
import torch
from torch import Tensor

from benchmarks.compare import compare
from benchmarks.measure import Bound, Comparison
from benchmarks.problem import Problem
from benchmarks.sides import by_diffrax, by_torchode, ours
from torchdyn_core import PID, DormandPrince5, Stats, VectorField, solve

BATCH = 256


class VanDerPol(VectorField):
    """Van der Pol's oscillator, one stiffness a sample.

    Arguments:
        mu: `(B,)`.
    """

    def __init__(self, mu: Tensor) -> None:
        super().__init__()
        self.register_buffer("mu", mu)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        x, v = y.unbind(-1)
        return torch.stack((v, self.mu * (1 - x * x) * v - x), -1)


def in_jax(y: jax.Array, mu: jax.Array) -> jax.Array:
    """The slope of one sample."""
    x, v = y
    return jax.numpy.stack((v, mu * (1 - x * x) * v - x))


def problem(mu: Tensor) -> Problem:
    """A batch of oscillators that start at rest."""
    return Problem(
        name=f"Van der Pol, mu 0.5 to 25, batch {len(mu)}, a step size a sample, float64, 200 report times in [0, 10], "
        "forward",
        field=VanDerPol(mu),
        y0=torch.tensor([2.0, 0.0], dtype=torch.float64).repeat(len(mu), 1),
        ts=torch.linspace(0.0, 10.0, 200, dtype=torch.float64),
        tolerance=1e-5,
        per_sample=True,
    )


def stiffness() -> Tensor:
    """One value a sample."""
    return torch.linspace(0.5, 25.0, BATCH, dtype=torch.float64)


def forward(*, fast: bool) -> list[Comparison]:
    """The batch, compiled."""
    given = problem(stiffness())
    peers = [
        by_torchode.contender(given, compile=False).at_least(8.0),
        by_torchode.contender(given, compile=True),
        by_diffrax.contender(given, in_jax),
    ]
    return compare(given, [ours.compiled(given)], peers, fast=fast)


def steps(*, fast: bool) -> list[Bound]:
    """Whether a sample takes more steps because of its neighbours."""
    mu = stiffness()
    together = _tried(problem(mu))
    chosen = torch.arange(0, BATCH, 64 if fast else 1)
    alone = torch.cat([_tried(problem(mu[i : i + 1])) for i in chosen])
    more = together[chosen] - alone
    return [
        Bound(
            what=f"Van der Pol, batch {BATCH}, compiled: samples that try more steps in the batch than alone",
            value=int((more > 0).sum()),
            limit=0,
            form="{:.0f}",
            detail=f"{len(chosen)} samples, {int(alone.min())} to {int(alone.max())} steps alone; difference "
            f"{int(more.min())} to {int(more.max())}",
        )
    ]


def _tried(given: Problem) -> Tensor:
    controller = PID(rtol=given.tolerance, atol=given.tolerance)
    stats: Stats = solve(
        given.field, given.y0, given.ts, solver=DormandPrince5(), controller=controller, per_sample=True,
        compile="require",
    ).stats  # fmt: skip
    return torch.as_tensor(stats.accepted) + torch.as_tensor(stats.rejected)


ROWS: dict[str, Callable[..., list[Comparison] | list[Bound]]] = {
    "van-der-pol": forward,
    "van-der-pol-steps": steps,
}
