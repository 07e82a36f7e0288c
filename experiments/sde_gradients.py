"""Gradients of stochastic equations against closed forms: how their errors fall with the step.

The three problems of Li et al. 2020 (arXiv 2001.01328) in ten dimensions: geometric Brownian motion, an arctangent of
the path, and a linear equation whose coefficients fade. The loss is the sum of squares at time 1, over 200 paths; the
error is the mean over gradients of all parameters and starting values, on the very paths, in double precision.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from experiments.outcome import Outcome
from torchdyn_core import Adjoint, Backsolve, Checkpointed, Fixed, Reversible, solve
from torchdyn_sde import (
    SRK,
    BrownianPath,
    EulerHeun,
    EulerMaruyama,
    Heun,
    LogODE,
    Midpoint,
    Milstein,
    Ralston,
    ReversibleHeun,
    SDESolver,
    SlowRK,
    SPaRK,
)
from torchdyn_sde.closed_forms import ClosedForm, closed_form

PROBLEMS = ("growth", "arctangent", "fading")
STEPS = (16, 32, 64, 128, 256)
ROWS = 200

# the order that a method has for diagonal noise, which its gradients have too
CASES: tuple[tuple[SDESolver, Adjoint, float], ...] = (
    (EulerMaruyama(), Checkpointed(), 0.5),
    (EulerMaruyama(), Backsolve(), 0.5),
    (Milstein(), Checkpointed(), 1.0),
    (Milstein(), Backsolve(), 1.0),
    (SRK(), Checkpointed(), 1.5),
    (EulerHeun(), Checkpointed(), 1.0),
    (EulerHeun(), Backsolve(), 1.0),
    (Heun(), Checkpointed(), 1.0),
    (Heun(), Backsolve(), 1.0),
    (Midpoint(), Backsolve(), 1.0),
    (Ralston(), Backsolve(), 1.0),
    (ReversibleHeun(), Reversible(), 1.0),
    (LogODE(), Checkpointed(), 1.0),
    (SPaRK(), Backsolve(), 1.0),
    (SlowRK(), Checkpointed(), 1.5),
    (SlowRK(), Backsolve(), 1.0),
)


def run(*, fast: bool) -> list[Outcome]:
    """Measure all of them."""
    found = []
    for name in PROBLEMS:
        problem = closed_form(name, 3 if fast else ROWS)
        options = {"dtype": torch.float64, "area": "space-time", "grid": STEPS[-1], "levels": 1}
        path = BrownianPath(0.0, 1.0, problem.y0.shape, seed=0, **options)
        want = _exact(problem, path)
        for method, adjoint, order in CASES:
            counts = (1, 2) if fast else STEPS
            errors = [float((_gradient(problem, path, method, adjoint, n) - want).abs().mean()) for n in counts]
            shown = ", ".join(f"{error / float(want.abs().mean()):.1e}" for error in errors[::2])
            found.append(
                Outcome(
                    f"Gradients of stochastic equations: {name}",
                    f"{method!r}, {adjoint!r}: order; mean error over mean gradient at 16, 64 and 256 steps: {shown}",
                    _order(counts, errors),
                    ">=",
                    order - 0.2,
                    form="{:.2f}",
                )
            )
    return found


def _loss(y: Tensor) -> Tensor:
    return y.square().sum()


def _together(loss: Tensor, problem: ClosedForm, y0: Tensor) -> Tensor:
    grads = torch.autograd.grad(loss, [y0, *problem.field.parameters()])
    return torch.cat([grad.flatten() for grad in grads])


def _exact(problem: ClosedForm, path: BrownianPath) -> Tensor:
    y0 = problem.y0.clone().requires_grad_()
    zero, one = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
    return _together(_loss(problem.exact(y0, one, path(zero, one))), problem, y0)


def _gradient(problem: ClosedForm, path: BrownianPath, method: SDESolver, adjoint: Adjoint, steps: int) -> Tensor:
    field = problem.field if method.interpretation == "ito" else problem.field.to_stratonovich()
    y0 = problem.y0.clone().requires_grad_()
    solution = solve(
        field.driven_by(path), y0, [0.0, 1.0], solver=method, controller=Fixed(steps=steps), adjoint=adjoint
    )
    return _together(_loss(solution.ys[-1]), problem, y0)


def _order(counts: tuple[int, ...], errors: list[float]) -> float:
    """The slope of a straight line through the logarithms."""
    xs, ys = [-math.log(count) for count in counts], [math.log(error) for error in errors]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
