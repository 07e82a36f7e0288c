"""Measured orders on a nonlinear, time-dependent problem: of solutions, backwards, complex, and of dense output."""

import math

import pytest
import torch

from torchdyn_core import Fixed, solve
from torchdyn_core.binding import BoundField
from torchdyn_core.registry import Registry

CORE = Registry(entry_points=tuple)
SOLVERS = {name: CORE.get("solver", name) for name in CORE.names("solver")}
DTYPE = torch.float64
C = torch.linspace(0.3, 3, 16, dtype=DTYPE)

# Span and steps over which an order is read: fine enough for the leading error term, and errors above rounding.
RANGES = {
    1: (2.0, 256, 2048),
    2: (2.0, 64, 512),
    3: (2.0, 32, 256),
    4: (2.0, 32, 200),
    5: (4.0, 200, 256),
    8: (2.0, 12, 20),
}


def field(t, y):
    return 2 * y * (1 - y) * torch.cos(t)


def exact(t):
    return 1 / (1 + C * torch.exp(-2 * torch.sin(t)).unsqueeze(-1))


def mirrored(t, y):
    return -field(-t, y)


def twisted(t, z):
    """The same field in z = (1 + 2i) y: complex, with an exact solution to match."""
    return (1 + 2j) * field(t, z / (1 + 2j))


def slope(points):
    x, y = zip(*((math.log(a), math.log(b)) for a, b in points), strict=True)
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def measured(name, function, sign, factor):
    span, low, high = RANGES[SOLVERS[name].order]
    points = []
    for i in range(4):
        steps = round(low * (high / low) ** (i / 3))
        ts = torch.tensor([0.0, sign * span], dtype=DTYPE)
        times, ys = solve(
            function, factor * exact(ts[0]), ts, solver=name, controller=Fixed(steps=steps), record_steps=True
        ).steps
        error = (ys - factor * exact(sign * times)).abs().square().mean().sqrt().item()
        assert error > 1e-14, "an error this small measures rounding"
        points.append((span / steps, error))
    return slope(points)


@pytest.mark.parametrize("name", SOLVERS)
def test_order_of_the_solution(name):
    assert abs(measured(name, field, 1, 1.0) - SOLVERS[name].order) < 0.2


@pytest.mark.parametrize("name", SOLVERS)
def test_order_backwards_in_time(name):
    assert abs(measured(name, mirrored, -1, 1.0) - SOLVERS[name].order) < 0.2


@pytest.mark.parametrize("name", SOLVERS)
def test_order_of_a_complex_state(name):
    assert abs(measured(name, twisted, 1, 1 + 2j) - SOLVERS[name].order) < 0.2


# Steps over which the local error of dense output is read.
SIZES = {1: (0.02, 0.001), 2: (0.05, 0.005), 3: (0.1, 0.01), 4: (0.12, 0.02), 7: (0.4, 0.12)}


def local_errors(name, read, sizes=None):
    solver, bound = SOLVERS[name](), BoundField(field)
    high, low = sizes or SIZES[solver.dense_order]
    points = []
    for i in range(5):
        dt = high * (low / high) ** (i / 4)
        t0, t1 = (torch.tensor(t, dtype=DTYPE) for t in (0.3, 0.3 + dt))
        y0 = exact(t0)
        step = solver.step(bound, t0, t1, y0, solver.init(bound, t0, t1, y0))
        points.append((dt, read(solver, bound, t0, t1, y0, step)))
    return slope(points)


@pytest.mark.parametrize("name", SOLVERS)
def test_dense_output_has_the_order_it_claims(name):
    def read(solver, bound, t0, t1, y0, step):
        dense = solver.extend(bound, t0, t1, y0, step)
        theta = torch.linspace(0.05, 0.95, 19, dtype=DTYPE)
        first = lambda leaf: leaf.unsqueeze(0)  # noqa: E731
        values = solver.interpolate(
            theta, t0.expand(19), t1.expand(19), first(y0), first(step.y), tuple(first(k) for k in dense)
        )
        return (values - exact(torch.lerp(t0, t1, theta))).square().mean().sqrt().item()

    assert abs(local_errors(name, read) - 1 - SOLVERS[name].dense_order) < 0.25


@pytest.mark.parametrize("name", [n for n, s in SOLVERS.items() if s.has_error_estimate])
def test_error_estimates_shrink_as_the_embedded_method_says(name):
    # local error of the embedded method; Hairer's mix of estimates of order 6 and 4 goes as 2 * 6 - 4
    wanted = {"midpoint": 2, "heun": 2, "ralston": 2, "bosh3": 3, "dopri5": 5, "tsit5": 5, "dopri8": 8}[name]
    # DOP853's estimate of order 4 takes over only where steps are small
    sizes = (0.12, 0.03) if name == "dopri8" else None
    got = local_errors(name, lambda solver, bound, t0, t1, y0, step: step.error.square().mean().sqrt().item(), sizes)
    assert abs(got - wanted) < 0.3
