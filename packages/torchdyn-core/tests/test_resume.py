"""Going on from an earlier solve: the steps of one solve that never stopped, or an error that says why not."""

import pytest
import torch

from torchdyn_core import PID, Fixed, IncompatibleError, ShapeError, Status, solve

DTYPE = torch.float64


def field(t, y):
    return torch.cos(t * y)


def times(*values):
    return torch.tensor(values, dtype=DTYPE)


def test_fixed_steps_stay_on_the_grid_of_the_first_solve():
    options = {"solver": "euler", "controller": Fixed(dt=0.1), "record_steps": True}
    y0 = torch.ones(2, dtype=DTYPE)
    first = solve(field, y0, times(0.0, 0.25), **options)
    rest = solve(field, first.final, times(0.25, 0.55), **options)
    assert torch.allclose(rest.steps[0], times(0.25, 0.3, 0.4, 0.5, 0.55))


@pytest.mark.parametrize("per_sample", [False, True])
def test_fixed_steps_turn_back_on_the_same_grid(per_sample):
    options = {"solver": "euler", "controller": Fixed(dt=0.25), "record_steps": True, "per_sample": per_sample}
    first = solve(field, torch.ones(2, dtype=DTYPE), times(0.0, 1.0), **options)
    back = solve(field, first.final, times(1.0, 0.0), **options)
    assert torch.equal(back.steps[0].reshape(5, -1)[:, 0], times(1.0, 0.75, 0.5, 0.25, 0.0))


@pytest.mark.parametrize("controller", [Fixed(dt=0.1), PID(rtol=1e-5, pcoeff=0.3, icoeff=0.4)], ids=["fixed", "pi"])
def test_a_sample_that_waited_for_others_goes_on_as_if_it_had_been_alone(controller):
    ts = torch.stack((times(0.0, 0.0), times(1.0, 2.0)))
    y0, options = times(1.0, 1.0), {"solver": "heun", "controller": controller, "per_sample": True}
    options |= {"record_steps": True}
    together = solve(field, solve(field, y0, ts, **options).final, torch.stack((ts[1], ts[1] + 1)), **options)
    for row in (0, 1):
        mine = ts[:, row : row + 1]
        alone = solve(field, y0[row : row + 1], mine, **options)
        alone = solve(field, alone.final, torch.stack((mine[1], mine[1] + 1)), **options)
        assert torch.equal(together.ys[:, row], alone.ys[:, 0])
        assert together.stats.accepted[row] == alone.stats.accepted[0] > 1


@pytest.mark.parametrize("controller", [Fixed(dt=0.1), PID()], ids=["fixed", "pid"])
def test_nothing_was_done_yet(controller):
    """After an empty span a solve begins as any other; so does a sample whose span was empty."""
    options = {"solver": "heun", "controller": controller}
    y0 = times(1.0, 0.5)
    empty = solve(field, y0, times(0.0, 0.0), **options)
    assert torch.equal(
        solve(field, empty.final, times(0.0, 1.0), **options).ys, solve(field, y0, times(0.0, 1.0), **options).ys
    )
    options["per_sample"] = True
    first = solve(field, y0, torch.stack((times(0.0, 0.0), times(0.0, 1.0))), **options)
    rest = solve(field, first.final, torch.stack((times(0.0, 1.0), times(1.0, 2.0))), **options)
    fresh = solve(field, y0[:1], times(0.0, 1.0), **options)
    assert torch.equal(rest.ys[:, 0], fresh.ys[:, 0]) and rest.stats.accepted[0] == fresh.stats.accepted[0]


def test_the_gradient_goes_through_a_start_that_did_nothing():
    y0 = times(1.0, 0.5).requires_grad_()
    empty = solve(field, y0, times(0.0, 0.0))
    got = torch.autograd.grad(solve(field, empty.final, times(0.0, 1.0)).ys[-1].sum(), y0)[0]
    want = torch.autograd.grad(solve(field, y0, times(0.0, 1.0)).ys[-1].sum(), y0)[0]
    assert torch.allclose(got, want, rtol=1e-12)


def test_parts_that_do_not_fit_are_refused():
    y0 = times(1.0, 0.5)
    final = solve(field, y0, times(0.0, 1.0)).final
    rest = times(1.0, 2.0)
    for options, message in (
        ({"controller": Fixed(dt=0.1)}, "controller is Fixed, the earlier solve had PID"),
        ({"solver": "dopri5"}, "solver is DormandPrince5"),
        ({"per_sample": True}, "all samples share"),
    ):
        with pytest.raises(IncompatibleError, match=message):
            solve(field, final, rest, **options)
    with pytest.raises(IncompatibleError, match="per sample"):
        solve(field, solve(field, y0, times(0.0, 1.0), per_sample=True).final, rest)
    with pytest.raises(ShapeError, match="stopped at"):
        solve(field, final, times(1.5, 2.0))


@pytest.mark.parametrize("per_sample", [False, True])
def test_steps_below_the_resolution_of_time_end_the_solve(per_sample):
    """dy/dt = y^2 leaves every bound at t = 1: no step of length zero is taken for progress."""
    solution = solve(
        lambda t, y: y * y, times(1.0), times(0.0, 2.0), throw=False, record_steps=True, per_sample=per_sample
    )
    assert int(solution.status) == Status.STEP_TOO_SMALL and int(solution.stats.steps) < 500
    assert bool((solution.steps[0].diff(dim=0) > 0).all())
