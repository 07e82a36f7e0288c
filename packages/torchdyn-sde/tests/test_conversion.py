"""Ito's sense and Stratonovich's: conversion in both directions of time, of trees, and what it refuses."""

import pytest
import torch

from torchdyn_core import Backsolve, Direct, Fixed, IncompatibleError, solve
from torchdyn_sde import BrownianPath, EulerMaruyama, Heun, Milstein, SDEField

DTYPE = torch.float64
ZERO = torch.tensor(0.0, dtype=DTYPE)


def growth(strength=1.0):
    return SDEField(lambda t, y: 0.0 * y, lambda t, y: strength * y)


@pytest.mark.parametrize("ts", [[0.0, 1.0], [1.0, 0.0]])
def test_both_senses_have_one_solution_in_either_direction(ts):
    path, y0 = BrownianPath(0.0, 1.0, (40, 1), seed=0, dtype=DTYPE), torch.ones(40, 1, dtype=DTYPE)
    field, control = growth().driven_by(path), Fixed(steps=400)
    w = path(*torch.tensor(ts, dtype=DTYPE))
    want = torch.exp(w - 0.5)  # in the direction in which it goes
    back = field.to_stratonovich().to_ito()
    for one, method in ((field, Milstein()), (field.to_stratonovich(), Heun()), (back, Milstein())):
        found = solve(one, y0, ts, solver=method, controller=control).ys[-1]
        assert float((found - want).abs().mean()) < 0.01, method


def test_rows_of_opposite_directions_are_converted_each_in_its_own():
    ts = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=DTYPE)
    path, y0 = BrownianPath(0.0, 1.0, (2, 1), seed=0, dtype=DTYPE), torch.ones(2, 1, dtype=DTYPE)
    options = {"controller": Fixed(steps=400), "per_sample": True}
    ito = solve(growth().driven_by(path), y0, ts, solver=Milstein(), **options).ys[-1]
    other = solve(growth().driven_by(path).to_stratonovich(), y0, ts, solver=Heun(), **options).ys[-1]
    torch.testing.assert_close(other, ito, rtol=0.02, atol=0.0)


def test_the_stochastic_adjoint_of_an_ito_equation_run_backwards():
    strength = torch.tensor(0.8, dtype=DTYPE, requires_grad=True)
    path = BrownianPath(0.0, 1.0, (40, 1), seed=0, dtype=DTYPE)
    found = []
    for adjoint in (Direct(), Backsolve()):
        y0 = torch.ones(40, 1, dtype=DTYPE, requires_grad=True)
        options = {"solver": Milstein(), "controller": Fixed(steps=400), "adjoint": adjoint}
        end = solve(growth(strength).driven_by(path), y0, [1.0, 0.0], **options).ys[-1]
        found.append(torch.autograd.grad(end.sum(), [y0, strength]))
    for exact, other in zip(*found, strict=True):
        assert float((exact - other).norm() / exact.norm()) < 0.05


def test_entries_of_trees_have_noises_of_their_own():
    volatility = SDEField(
        lambda t, y: (0.0 * y[0], 0.0 * y[1]), lambda t, y: (y[1].sqrt() * y[0], 0.3 * y[1].sqrt())
    ).to_stratonovich()
    state = torch.tensor([[2.0]], dtype=DTYPE), torch.tensor([[0.25]], dtype=DTYPE)
    for drift, want in zip(volatility.drift(ZERO, state), (-0.25, -0.0225), strict=True):
        assert float(drift) == pytest.approx(want)
    mixed = SDEField(lambda t, y: (0.0 * y[0], 0.0 * y[1]), lambda t, y: (y[0], y[1])).to_stratonovich()
    for drift in mixed.drift(ZERO, (torch.ones(3, dtype=DTYPE), torch.ones((), dtype=DTYPE))):
        torch.testing.assert_close(drift, torch.full_like(drift, -0.5))


def test_diffusions_that_mix_rows_are_not_converted():
    mean = SDEField(lambda t, y: 0.0 * y, lambda t, y: y.mean(0, keepdim=True).expand_as(y))
    y0, control = torch.ones(4, 1, dtype=DTYPE), Fixed(steps=4)
    with pytest.raises(IncompatibleError, match="depends on other rows"):
        solve(mean.to_stratonovich(), y0, [0.0, 1.0], solver=Heun(), controller=control)
    with pytest.raises(IncompatibleError, match="depends on other rows"):
        solve(mean, y0.requires_grad_(), [0.0, 1.0], solver=EulerMaruyama(), controller=control, adjoint=Backsolve())
    solve(mean, y0, [0.0, 1.0], solver=EulerMaruyama(), controller=control)


@pytest.mark.parametrize("shape", [(4, 1), (1, 4), (2, 2)])
def test_milstein_sees_whatever_entries_are_mixed(shape):
    mean = SDEField(lambda t, y: 0.0 * y, lambda t, y: y.mean().expand_as(y))
    with pytest.raises(IncompatibleError, match="other entries"):
        solve(mean, torch.ones(shape, dtype=DTYPE), [0.0, 1.0], solver=Milstein(), controller=Fixed(steps=4))
