"""Step-size control: every option does what it says."""

import math

import pytest
import torch

from torchdyn_core import PID, Fixed, IntegrationError, ShapeError, Solver, State, Step, per_row, solve

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
