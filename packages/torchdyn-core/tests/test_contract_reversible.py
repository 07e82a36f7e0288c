"""A method with a history of its own fits the contract: a reversible two-state solver, its carry differentiated."""

from dataclasses import dataclass

import pytest
import torch

from torchdyn_core import (
    Checkpointed,
    Direct,
    Fixed,
    GradientError,
    IncompatibleError,
    OptionError,
    Reversible,
    Solver,
    State,
    Step,
    solve,
)
from torchdyn_core.binding import BoundField

DTYPE = torch.float64


@dataclass(frozen=True)
class AsynchronousLeapfrog(Solver):
    """ALF (Zhuang et al. 2021, arXiv 2102.04668): carries a velocity beside the state; each step is undone exactly."""

    order = 2
    dense_order = 1
    reversible = True

    def init(self, field, t0, t1, y0):
        return State(carry=field(t0, y0))

    def step(self, field, t0, t1, y, state):
        half = 0.5 * (t1 - t0)
        half = half.reshape(half.shape + (1,) * (y.dim() - half.dim())) if half.dim() else half
        velocity = state.carry
        middle = y + half * velocity
        moved = 2 * field(torch.lerp(t0, t1, 0.5), middle) - velocity
        y1 = middle + half * moved
        return Step(y1, None, State(carry=moved), (), True, 1)

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        theta = theta.reshape(theta.shape + (1,) * (y0.dim() - theta.dim()))
        return y0 + theta * (y1 - y0)

    def reverse(self, field, t0, t1, y1, state):
        half = 0.5 * (t1 - t0)
        half = half.reshape(half.shape + (1,) * (y1.dim() - half.dim())) if half.dim() else half
        middle = y1 - half * state.carry
        velocity = 2 * field(torch.lerp(t0, t1, 0.5), middle) - state.carry
        return middle - half * velocity, State(carry=velocity)


def gradients(adjoint, per_sample):
    torch.manual_seed(0)
    y0 = torch.randn(3, 2, dtype=DTYPE, requires_grad=True)
    weight = torch.randn(2, 2, dtype=DTYPE, requires_grad=True)
    ts = torch.tensor([0.0, 0.55, 1.0], dtype=DTYPE, requires_grad=True)
    solution = solve(
        lambda t, y: torch.tanh(y @ weight) * torch.cos(t),
        y0,
        ts,
        solver=AsynchronousLeapfrog(),
        controller=Fixed(dt=0.1),
        adjoint=adjoint,
        per_sample=per_sample,
    )
    loss = solution.ys.square().sum() + solution.final.carry.sin().sum()
    return torch.autograd.grad(loss, [y0, weight, ts])


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=4), Reversible()], ids=str)
def test_the_carry_is_differentiated_through_every_step_and_through_its_start(adjoint, per_sample):
    want = gradients(Direct(), per_sample)
    for a, b in zip(gradients(adjoint, per_sample), want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_undone_steps_keep_no_states():
    """Whatever the number of steps: those that are alive while the backward pass begins."""
    import gc

    def alive(adjoint, steps):
        y0 = torch.ones(7, 11, dtype=DTYPE, requires_grad=True)
        options = {"solver": AsynchronousLeapfrog(), "controller": Fixed(steps=steps), "adjoint": adjoint}
        solution = solve(lambda t, y: -y, y0, [0.0, 1.0], **options)
        gc.collect()
        count = sum(type(item) is torch.Tensor and item.shape == y0.shape for item in gc.get_objects())
        solution.ys[-1].sum().backward()
        return count

    assert alive(Reversible(), 40) == alive(Reversible(), 10)
    assert alive(Checkpointed(), 40) >= alive(Checkpointed(), 10) + 30


def test_rounding_that_has_grown_on_the_way_back_raises():
    """A fast decay: undone, it is a fast growth of whatever rounding has left."""
    y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
    options = {"solver": AsynchronousLeapfrog(), "controller": Fixed(steps=100)}
    stiff = solve(lambda t, y: -1.9 * 50 * torch.sin(y), y0, [0.0, 1.0], adjoint=Reversible(), **options)
    with pytest.raises(GradientError, match="off by"):
        stiff.ys[-1].sum().backward()
    with pytest.raises(IncompatibleError, match="RK4 cannot"):
        solve(lambda t, y: y, y0, [0.0, 1.0], solver="rk4", controller=Fixed(steps=2), adjoint="reversible")
    with pytest.raises(IncompatibleError, match="does not compile"):
        solve(lambda t, y: y, y0, [0.0, 1.0], adjoint="reversible", compile=True, **options)
    with pytest.raises(OptionError, match="above 0"):
        Reversible(tolerance=0)


@pytest.mark.parametrize("adjoint", ["checkpointed", "reversible"])
def test_double_backward_goes_through_the_carry(adjoint):
    def second(adjoint):
        y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
        ys = solve(
            lambda t, y: -y * y,
            y0,
            [0.0, 1.0],
            solver=AsynchronousLeapfrog(),
            controller=Fixed(steps=4),
            adjoint=adjoint,
        ).ys
        (first,) = torch.autograd.grad(ys[-1].sum(), y0, create_graph=True)
        return torch.autograd.grad(first.sum(), y0)[0]

    torch.testing.assert_close(second(adjoint), second("direct"), rtol=1e-12, atol=1e-12)


def test_order_is_two_and_reverse_undoes_a_step():
    errors = []
    for steps in (20, 40):
        ys = solve(
            lambda t, y: -y * t,
            torch.ones(1, dtype=DTYPE),
            [0.0, 1.0],
            solver=AsynchronousLeapfrog(),
            controller=Fixed(steps=steps),
        ).ys
        errors.append((ys[-1] - torch.exp(torch.tensor(-0.5, dtype=DTYPE))).abs().item())
    assert abs(torch.tensor(errors[0] / errors[1]).log2().item() - 2) < 0.2

    field = BoundField(lambda t, y: torch.sin(y) * t)
    t0, t1, y = torch.tensor(0.2, dtype=DTYPE), torch.tensor(0.5, dtype=DTYPE), torch.tensor([1.0, 2.0], dtype=DTYPE)
    state = AsynchronousLeapfrog().init(field, t0, t1, y)
    step = AsynchronousLeapfrog().step(field, t0, t1, y, state)
    back, earlier = AsynchronousLeapfrog().reverse(field, t0, t1, step.y, step.state)
    torch.testing.assert_close(back, y, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(earlier.carry, state.carry, rtol=1e-14, atol=1e-14)


def test_a_solve_goes_on_with_the_carry_it_had():
    options = {"solver": AsynchronousLeapfrog(), "controller": Fixed(dt=0.1)}
    y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
    whole = solve(lambda t, y: -y * y, y0, [0.0, 1.0], **options)
    first = solve(lambda t, y: -y * y, y0, [0.0, 1.0], max_steps=4, throw=False, **options)
    rest = solve(lambda t, y: -y * y, first.final, [first.final.t, 1.0], **options)
    assert torch.equal(whole.ys[-1], rest.ys[-1])
    want, got = (torch.autograd.grad(s.ys[-1].sum(), y0)[0] for s in (whole, rest))
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
