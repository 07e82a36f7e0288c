"""Step-size control: every option does what it says."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate._ivp.common import select_initial_step

from torchdyn_core import (
    PID,
    DormandPrince5,
    Fixed,
    IntegrationError,
    OptionError,
    ShapeError,
    Solver,
    State,
    Step,
    per_row,
    solve,
)
from torchdyn_core.controller.pid import PIDState

DTYPE = torch.float64
Y0 = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=DTYPE)


def oscillator(t, y):
    return torch.stack([y[..., 1], -25 * y[..., 0]], -1)


def steps_of(controller, **options):
    solution = solve(oscillator, Y0, [0.0, 2.0], controller=controller, record_steps=True, **options)
    return solution.steps[0].diff(dim=0), solution


def test_tolerances_bound_the_error():
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        _, solution = steps_of(PID(rtol=tolerance, atol=tolerance))
        errors.append((solution.ys[-1, 0, 0] - math.cos(10.0)).abs().item())
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_limits_on_factors_and_sizes_hold():
    sizes, _ = steps_of(PID(rtol=1e-6, atol=1e-6, dt0=1e-4, factor_max=2.0))
    assert sizes[0] == pytest.approx(1e-4)
    assert (sizes[1:] / sizes[:-1]).max() <= 2.0 + 1e-9
    sizes, _ = steps_of(PID(rtol=1e-6, atol=1e-6, dt_max=0.02))
    assert sizes.max() <= 0.02 + 1e-12
    with pytest.raises(IntegrationError, match="dt_min"):
        steps_of(PID(rtol=1e-12, atol=1e-12, dt_min=0.05))
    careful, _ = steps_of(PID(rtol=1e-6, atol=1e-6, safety=0.5))
    bold, _ = steps_of(PID(rtol=1e-6, atol=1e-6, safety=0.95))
    assert len(careful) > len(bold)


def test_a_step_cut_short_does_not_shrink_the_next():
    jumps = torch.tensor([0.5, 0.500001], dtype=DTYPE)
    plain, _ = steps_of(PID(rtol=1e-6, atol=1e-6))
    cut, _ = steps_of(PID(rtol=1e-6, atol=1e-6, jump_ts=jumps))
    assert len(cut) <= len(plain) + 4


def test_proportional_and_derivative_terms_smooth_the_sizes():
    def roughness(controller):
        sizes, _ = steps_of(controller)
        return sizes[2:-1].log().diff().abs().mean().item()

    assert roughness(PID(rtol=1e-5, atol=1e-5, pcoeff=0.4, icoeff=0.3)) < roughness(PID(rtol=1e-5, atol=1e-5))
    steps_of(PID(rtol=1e-5, atol=1e-5, pcoeff=0.2, icoeff=0.3, dcoeff=0.1))


@pytest.mark.parametrize("per_sample", [False, True])
def test_a_norm_of_the_users_gets_the_states_structure(per_sample):
    seen = []

    def norm(ratio):
        seen.append({name: tuple(leaf.shape) for name, leaf in ratio.items()})
        worst = ratio["a"].abs().amax(-1)
        return worst if per_sample else worst.max()

    y0 = {"a": Y0, "b": torch.ones(2, 5, dtype=DTYPE)}
    field = lambda t, y: {"a": oscillator(t, y["a"]), "b": per_row(torch.sin(50 * t), y["b"]) * y["b"]}  # noqa: E731
    kind = {"per_sample": per_sample}
    loose = solve(field, y0, [0.0, 1.0], controller=PID(rtol=1e-6, atol=1e-6, norm=norm), **kind)
    strict = solve(field, y0, [0.0, 1.0], controller=PID(rtol=1e-6, atol=1e-6), **kind)
    assert seen and all(shapes == {"a": (2, 2), "b": (2, 5)} for shapes in seen)
    assert int(torch.as_tensor(loose.stats.steps)) < strict.stats.steps
    with pytest.raises(ShapeError, match="wanted"):
        solve(field, y0, [0.0, 1.0], controller=PID(norm=lambda ratio: ratio["a"]), **kind)


def test_tolerances_for_each_entry():
    atol = torch.tensor([1e-8, 1e3], dtype=DTYPE)
    field = lambda t, y: torch.stack([-y[..., 0], torch.sin(60 * t) * 60 + 0 * y[..., 1]], -1)  # noqa: E731
    loose = solve(field, Y0, [0.0, 1.0], controller=PID(rtol=0.0, atol=atol))
    strict = solve(field, Y0, [0.0, 1.0], controller=PID(rtol=0.0, atol=1e-8))
    assert loose.stats.steps < strict.stats.steps / 2


def test_a_method_may_reject_a_step_itself():
    class Picky(Solver):
        """Its inner iteration fails on long steps."""

        order, dense_order, has_error_estimate = 1, 1, True

        def init(self, field, t0, t1, y0):
            return State()

        def step(self, field, t0, t1, y, state):
            ok = (t1 - t0).abs() < 0.1
            return Step(y + (t1 - t0) * field(t0, y), torch.zeros_like(y), State(), (), ok, 1)

        def interpolate(self, theta, t0, t1, y0, y1, dense):
            return y0 + theta.reshape(theta.shape + (1,) * (y0.dim() - theta.dim())) * (y1 - y0)

    for per_sample in (False, True):
        y0 = torch.ones(2, dtype=DTYPE)
        solution = solve(
            lambda t, y: 0 * y,
            y0,
            [0.0, 1.0],
            solver=Picky(),
            controller=PID(dt0=1.0),
            per_sample=per_sample,
            record_steps=True,
        )
        assert solution.steps[0].diff(dim=0).max() < 0.1
        assert int(torch.as_tensor(solution.stats.rejected).max()) > 0
        with pytest.raises(IntegrationError, match="step size"):
            solve(lambda t, y: 0 * y, y0, [0.0, 1.0], solver=Picky(), controller=Fixed(steps=2), per_sample=per_sample)


def test_the_next_step_size_is_the_formula():
    """Soederlind's controller with all three terms, its limits, and no growth right after a rejection."""
    controller = PID(pcoeff=0.3, icoeff=0.4, dcoeff=0.1, safety=0.9, factor_min=0.2, factor_max=5.0)
    control = PIDState(0.1, 0.5, 0.25, False)
    verdict = controller.decide(control, 0.0, 0.1, False, 0.8, 5)
    b1, b2, b3 = 0.3 + 0.4 + 0.1, -(0.3 + 2 * 0.1), 0.1
    size = 0.1 * 0.9 * 0.8 ** (-b1 / 5) * 0.5 ** (-b2 / 5) * 0.25 ** (-b3 / 5)
    assert verdict.accept and verdict.control.dt == pytest.approx(size, rel=1e-12)
    assert (verdict.control.error1, verdict.control.error2) == (0.8, 0.5)
    refused = controller.decide(control, 0.0, 0.1, False, 30.0, 5)
    assert not refused.accept and 0.02 <= refused.control.dt < 0.09 and refused.control.rejected
    assert (refused.control.error1, refused.control.error2) == (0.5, 0.25)
    assert controller.decide(refused.control, 0.0, 0.05, False, 1e-9, 5).control.dt == pytest.approx(0.05)
    assert controller.decide(control, 0.0, 0.1, False, 1e-9, 5).control.dt == pytest.approx(0.5)
    tensors = controller.decide(
        PIDState(*(torch.tensor([x, x], dtype=DTYPE) for x in (0.1, 0.5, 0.25)), torch.tensor([False, True])),
        torch.zeros(2, dtype=DTYPE), torch.full((2,), 0.1, dtype=DTYPE), torch.tensor([False, False]),
        torch.tensor([0.8, 0.8], dtype=DTYPE), 5,
    )  # fmt: skip
    assert tensors.control.dt[0].item() == pytest.approx(size, rel=1e-12)
    assert tensors.control.dt[1].item() == pytest.approx(min(size, 0.1), rel=1e-12)


@pytest.mark.parametrize("stiffness", [0.1, 1.0, 50.0])
def test_the_first_step_size_is_hairers(stiffness):
    """As SciPy chooses it, by the same rule."""

    def field(t, y):
        return -stiffness * y + torch.sin(3 * t)

    want = select_initial_step(
        lambda t, y: -stiffness * y + np.sin(3 * t), 0.0, np.array([1.0, 2.0]), 10.0, np.inf,
        -stiffness * np.array([1.0, 2.0]), 1, 4, 1e-4, 1e-6,
    )  # fmt: skip
    tried = []

    class Spy(DormandPrince5):
        def step(self, field, t0, t1, y, state):
            tried.append((t1 - t0).item())
            return super().step(field, t0, t1, y, state)

    solve(
        field, torch.tensor([1.0, 2.0], dtype=DTYPE), [0.0, 10.0], solver=Spy(), max_steps=1, throw=False,
        controller=PID(rtol=1e-4, atol=1e-6),
    )  # fmt: skip
    assert tried[0] == pytest.approx(want, rel=1e-9)


class Watched(Solver):
    """Euler's method, whose error is that of the user's wish; it keeps the ends of all steps that it was asked for."""

    order, dense_order, has_error_estimate = 1, 1, True

    def __init__(self, wild):
        self.wild, self.asked = wild, []

    def init(self, field, t0, t1, y0):
        return State()

    def step(self, field, t0, t1, y, state):
        self.asked.append((t0.clone(), t1.clone()))
        error = self.wild(t0, t1).reshape(-1, *(1,) * (y.dim() - 1)).expand_as(y)
        return Step(y, error.to(y.dtype), State(), ())

    def interpolate(self, theta, t0, t1, y0, y1, dense):
        return y1.expand(len(theta), *y1.shape[1:])


@pytest.mark.parametrize("direction", [1.0, -1.0])
@pytest.mark.parametrize("per_sample", [False, True])
def test_steps_end_wherever_a_rejected_one_did(per_sample, direction):
    def wild(t0, t1):  # too large by far around two places, of which rows see one each
        size = (t1 - t0).abs()
        near = torch.stack([torch.exp(-((10 * (0.5 * (t0 + t1).abs() - place)) ** 2)) for place in (0.31, 0.62)])
        near = near.diagonal() if per_sample else near.sum(0)
        return 1e-3 * size * (1.0 + 3e3 * near)

    method = Watched(wild)
    control = PID(rtol=0.0, atol=1e-3, dt0=0.1, revisit_rejected=True)
    options = {"solver": method, "controller": control, "record_steps": True, "per_sample": per_sample}
    solution = solve(lambda t, y: y, torch.zeros(2, 1, dtype=DTYPE), [0.0, direction], **options)
    found = solution.steps[0].reshape(len(solution.steps[0]), -1)
    asked = [torch.cat([t.reshape(-1) for t in pair]).reshape(2, -1) for pair in method.asked]
    for row in range(found.shape[1]):
        ends = set(found[:, row].tolist())
        tried = {(float(a[row]), float(b[row])) for a, b in asked if a[row] != b[row]}
        rejected = {b for a, b in tried - set(itertools.pairwise(found[:, row].tolist()))}
        assert len(rejected) > 4 and rejected <= ends
    method.asked.clear()
    free = solve(lambda t, y: y, torch.zeros(2, 1, dtype=DTYPE), [0.0, direction], **{
        **options, "controller": PID(rtol=0.0, atol=1e-3, dt0=0.1)
    })  # fmt: skip
    ends = set(free.steps[0].flatten().tolist())
    assert not {float(t) for _, b in method.asked for t in b.reshape(-1)} <= ends


def test_a_step_cut_short_by_a_rejected_end_does_not_shrink_the_next():
    rejections = iter([5.0, *[0.01] * 100])
    method = Watched(lambda t0, t1: torch.full_like(t0, 1e-3 * next(rejections)))
    control = PID(rtol=0.0, atol=1e-3, dt0=0.3, revisit_rejected=True, factor_max=1.5)
    solution = solve(lambda t, y: y, torch.zeros(1, dtype=DTYPE), [0.0, 1.0], solver=method, controller=control,
                     record_steps=True)  # fmt: skip
    times = solution.steps[0].tolist()
    assert times[0] == 0.0 and 0.3 in times
    sizes = [b - a for a, b in itertools.pairwise(times)]
    before, behind = sizes[times.index(0.3) - 2], sizes[times.index(0.3)]
    assert behind >= before  # not the rest that was left up to the rejected end


def test_a_solve_ends_when_no_more_rejected_ends_can_be_kept():
    method = Watched(lambda t0, t1: torch.full_like(t0, 1.0))
    with pytest.raises(IntegrationError):
        solve(lambda t, y: y, torch.zeros(1, dtype=DTYPE), [0.0, 1.0], solver=method,
              controller=PID(rtol=0.0, atol=1e-3, revisit_rejected=True, dt0=1.0))  # fmt: skip
    assert len(method.asked) == 25


@pytest.mark.parametrize("value", [1, "yes", 0.5])
def test_revisiting_is_a_switch(value):
    with pytest.raises(OptionError, match="revisit_rejected"):
        PID(revisit_rejected=value)
