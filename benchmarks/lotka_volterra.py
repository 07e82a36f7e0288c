"""The overhead of a step: predator and prey, two numbers, forward only."""

from __future__ import annotations

import torch
import torchdiffeq
from scipy.integrate import solve_ivp
from torch import Tensor

from benchmarks.measure import Comparison, CountedField, Side, Work, interleaved
from torchdyn_core import PID, DormandPrince5, solve

TOLERANCE = 1e-6
RATES = torch.tensor([1.5, -3.0], dtype=torch.float64)
COUPLING = torch.tensor([-1.0, 1.0], dtype=torch.float64)
Y0 = torch.ones(2, dtype=torch.float64)
TS = torch.tensor([0.0, 20.0], dtype=torch.float64)


def field(t: Tensor, y: Tensor) -> Tensor:
    """Lotka and Volterra's equations."""
    return y * (RATES + COUPLING * y.flip(0))


def reference() -> Tensor:
    """The last state, to 1e-12."""
    rates, coupling = RATES.numpy(), COUPLING.numpy()
    solution = solve_ivp(
        lambda t, y: y * (rates + coupling * y[::-1]), TS.tolist(), Y0.numpy(), "DOP853", rtol=1e-12, atol=1e-12
    )
    return torch.from_numpy(solution.y[:, -1])


def run(*, fast: bool) -> list[Comparison]:
    """Measure."""
    exact = reference()
    solver, controller = DormandPrince5(), PID(rtol=TOLERANCE, atol=TOLERANCE)
    counted = CountedField(field)

    sol = solve(field, Y0, TS, solver=solver, controller=controller)
    stats = sol.stats
    ours = Work(stats.accepted, stats.rejected, stats.evaluations, (sol.ys[-1] - exact).abs().max().item())
    last = torchdiffeq.odeint(counted, Y0, TS, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5")[-1]
    theirs = Work(counted.accepted, counted.rejected, counted.evaluations, (last - exact).abs().max().item())

    seconds = interleaved(
        {
            "torchdyn-core": lambda: solve(field, Y0, TS, solver=solver, controller=controller),
            "torchdiffeq": lambda: torchdiffeq.odeint(field, Y0, TS, rtol=TOLERANCE, atol=TOLERANCE, method="dopri5"),
        },
        fast=fast,
    )
    return [
        Comparison(
            problem="Lotka-Volterra, one trajectory, float64, t in [0, 20], forward",
            options=f"dopri5, rtol = atol = {TOLERANCE:g}",
            ours=Side("torchdyn-core solve", ours, seconds["torchdyn-core"]),
            theirs=Side("torchdiffeq odeint", theirs, seconds["torchdiffeq"]),
            per="accepted step",
            target=2.0,
        )
    ]
