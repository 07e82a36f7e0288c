"""Measured orders: of the solution, the dense output and the error estimates, on a nonlinear, time-dependent problem."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from torchdyn_core import Fixed, solve
from torchdyn_core.binding import BoundField
from torchdyn_core.builtin import COMPONENTS
from torchdyn_core.solver import Step

SOLVERS = COMPONENTS["solver"]

# Local error of what `Step.error` estimates; Hairer's mix of two estimates in DOP853 is of order 2 * 6 - 4.
ESTIMATES = {"midpoint": 2, "heun": 2, "ralston": 2, "bosh3": 3, "dopri5": 5, "tsit5": 5, "dopri8": 8}

# Steps in [0, 1] between which the order is read: errors from about 1e-4 to 1e-12.
STEPS = {1: (256, 2048), 2: (64, 512), 3: (32, 256), 4: (16, 128), 5: (16, 64), 8: (6, 14)}


def spiral(t: Tensor, y: Tensor) -> Tensor:
    """A spiral onto the unit circle, at a frequency that grows: `r' = r (1 - r^2), angle' = 3 t`."""
    p, q = y.unbind(-1)
    growth = 1 - p * p - q * q
    return torch.stack((growth * p - 3 * t * q, growth * q + 3 * t * p), -1)


def complex_spiral(t: Tensor, z: Tensor) -> Tensor:
    return z * (1 - z.abs().square() + 3j * t)


def exact(t: Tensor) -> Tensor:
    radius = (1 + (1 / 0.3**2 - 1) * torch.exp(-2 * t)).rsqrt()
    return torch.polar(radius, 1.5 * t**2)


def exact_pair(t: Tensor) -> Tensor:
    return torch.view_as_real(exact(t))


def slope(points: list[tuple[float, float]]) -> float:
    """Of the least-squares line through `log error` against `log dt`."""
    x, y = zip(*((math.log(a), math.log(b)) for a, b in points), strict=True)
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)


def step_counts(order: int) -> list[int]:
    low, high = STEPS[order]
    return [round(low * (high / low) ** (i / 3)) for i in range(4)]


def global_order(
    name: str, field: Callable[[Tensor, Tensor], Tensor], truth: Callable[[Tensor], Tensor], span: tuple[float, float]
) -> float:
    ts = torch.tensor(span, dtype=torch.float64)
    points = []
    for steps in step_counts(SOLVERS[name].order):
        solution = solve(field, truth(ts[0]), ts, solver=name, controller=Fixed(steps=steps))
        error = (solution.ys[-1] - truth(ts[-1])).abs().max().item()
        assert error > 1e-13, "an error this small measures rounding"
        points.append((1.0 / steps, error))
    return slope(points)


def local_step(name: str, t0: float, dt: float) -> tuple[BoundField, Tensor, Tensor, Tensor, Step]:
    solver, field = SOLVERS[name](), BoundField(spiral)
    start, stop = torch.tensor(t0, dtype=torch.float64), torch.tensor(t0 + dt, dtype=torch.float64)
    y0 = exact_pair(start)
    step = solver.step(field, start, stop, y0, solver.init(field, start, stop, y0))
    return field, start, stop, y0, step


@pytest.mark.parametrize("name", SOLVERS)
def test_order_of_the_solution(name: str) -> None:
    assert abs(global_order(name, spiral, exact_pair, (0.0, 1.0)) - SOLVERS[name].order) <= 0.2


@pytest.mark.parametrize("name", SOLVERS)
def test_order_backward_in_time(name: str) -> None:
    assert abs(global_order(name, spiral, exact_pair, (1.0, 0.0)) - SOLVERS[name].order) <= 0.2


@pytest.mark.parametrize("name", SOLVERS)
def test_order_for_a_complex_state(name: str) -> None:
    assert abs(global_order(name, complex_spiral, exact, (0.0, 1.0)) - SOLVERS[name].order) <= 0.2


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("name", SOLVERS)
def test_local_error_of_the_dense_output_is_of_its_order_plus_one(name: str, backward: bool) -> None:
    """The largest error over a step, of several starts, as the step shrinks."""
    solver = SOLVERS[name]()
    low, high = (0.03, 0.12) if solver.dense_order < 7 else (0.1, 0.25)
    points = []
    for i in range(4):
        dt, worst = low * (high / low) ** (i / 3), 0.0
        for t0 in (0.3, 0.5, 0.7):
            field, start, stop, y0, step = local_step(name, t0, -dt if backward else dt)
            dense = solver.extend(field, start, stop, y0, step)
            for theta in torch.linspace(0.05, 0.95, 19, dtype=torch.float64):
                value = solver.interpolate(theta, start, stop, y0, step.y, dense)
                worst = max(worst, (value - exact_pair(torch.lerp(start, stop, theta))).abs().max().item())
        assert worst > 1e-13, "an error this small measures rounding"
        points.append((dt, worst))
    assert abs(slope(points) - 1 - solver.dense_order) <= 0.25


@pytest.mark.parametrize("name", SOLVERS)
def test_dense_output_through_solve_converges_with_its_order(name: str) -> None:
    """What a user sees: reports between steps of a whole solve."""
    ts = torch.linspace(0.0, 1.0, 53, dtype=torch.float64)
    solver = SOLVERS[name]
    points = []
    for steps in step_counts(solver.order):
        ys = solve(spiral, exact_pair(ts[0]), ts, solver=name, controller=Fixed(steps=steps)).ys
        points.append((1 / steps, (ys - exact_pair(ts)).abs().max().item()))
    assert slope(points) >= min(solver.order, solver.dense_order + 1) - 0.25


@pytest.mark.parametrize("name", ESTIMATES)
def test_error_estimate_shrinks_with_the_order_of_the_embedded_method(name: str) -> None:
    points = []
    for i in range(4):
        dt = 0.02 * 4 ** (i / 3) if name != "dopri8" else 0.1 * 2 ** (i / 3)
        errors = [local_step(name, t0, dt)[-1].error for t0 in (0.3, 0.5, 0.7)]
        points.append((dt, max(error.abs().max().item() for error in errors)))
    assert abs(slope(points) - ESTIMATES[name]) <= 0.3


@pytest.mark.parametrize("name", ESTIMATES)
def test_error_estimate_is_the_embedded_methods_error_to_leading_order(name: str) -> None:
    """The estimate of a lower-order result is its true error, but for the error of the better result."""
    if name == "dopri8":
        pytest.skip("its estimate is a mix of two that is made to be smaller than either's error: order tested above")
    field, start, stop, y0, step = local_step(name, 0.5, 0.02)
    truth = exact_pair(stop)
    embedded = step.y - step.error
    assert torch.allclose(embedded - truth, -step.error, rtol=0.15, atol=0.0)
    assert (step.y - truth).norm() < 0.15 * (embedded - truth).norm()
