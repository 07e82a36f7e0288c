"""Steps that are chosen by looking at the noise: they converge to the right limit, or are refused."""

import math

import pytest
import torch

from torchdyn_core import PID, Checkpointed, Direct, Fixed, IncompatibleError, solve
from torchdyn_sde import (
    BrownianPath,
    EulerMaruyama,
    Heun,
    LogODE,
    Milstein,
    ReversibleHeun,
    SDEField,
    SPaRK,
    StepDoubling,
)
from torchdyn_sde.testing import sde_problem

DTYPE = torch.float64


def swept():
    """The area that two noises sweep: `dx = dv`, `dy = dw`, `da = x dw - y dv`, in Stratonovich's sense."""

    def diffusion(t, y):
        one, zero = torch.ones_like(y[..., 0]), torch.zeros_like(y[..., 0])
        first = torch.stack((one, zero, -y[..., 1]), -1)
        second = torch.stack((zero, one, y[..., 0]), -1)
        return torch.stack((first, second), -1)

    return SDEField(lambda t, y: torch.zeros_like(y), diffusion, noise="general", interpretation="stratonovich")


class Lopsided(PID):
    """Step-size control that sees errors of the area, and those of one sign ten times larger: it rejects by turn."""

    other_side = 0.1

    def error(self, error, y0, y1, layout):
        return torch.where(error[:, 2] > 0.0, 1.0, -self.other_side) * error[:, 2] / self.atol


class OneSided(Lopsided):
    """The same, which sees errors of one sign alone."""

    other_side = 0.0


def area_errors(atol, count, kind=Lopsided, **options):
    """How far the areas are off, and how many steps were rejected."""
    path = BrownianPath(0.0, 1.0, (count, 2), seed=1, dtype=DTYPE, levels=9)
    field, y0 = swept().driven_by(path), torch.zeros(count, 3, dtype=DTYPE)
    control = kind(rtol=0.0, atol=atol, dt0=0.25, **options)
    with torch.no_grad():
        found = solve(field, y0, [0.0, 1.0], solver=StepDoubling(Heun()), controller=control, per_sample=True)
        fine = solve(field, y0, [0.0, 1.0], solver=Heun(), controller=Fixed(steps=512)).ys[-1, :, 2]
    return found.ys[-1, :, 2] - fine, int(found.stats.rejected.sum())


def test_rejections_of_one_kind_of_path_bias_nothing_where_their_ends_are_revisited():
    count = 12000
    for revisit, low, high in ((None, -3.0, 3.0), (False, -math.inf, -4.5)):
        apart, rejected = area_errors(2e-2, count, OneSided, revisit_rejected=revisit)
        assert rejected > count
        bias = float(apart.mean() / (apart.std() / count**0.5))
        assert low < bias < high, (revisit, bias)


def test_the_error_falls_with_the_tolerance_under_lopsided_rejections():
    sizes = [float(area_errors(atol, 300)[0].square().mean().sqrt()) for atol in (1e-1, 2e-2, 4e-3)]
    assert sizes[0] > 1.3 * sizes[1] > 1.3**2 * sizes[2], sizes


def test_plain_euler_maruyama_is_refused():
    problem = sde_problem("diagonal", "ito", 3)
    for method in (EulerMaruyama(), StepDoubling(EulerMaruyama())):
        with pytest.raises(IncompatibleError, match="looking at the noise"):
            solve(problem.field, problem.y0, [0.0, 1.0], solver=method, controller=PID())
    additive = sde_problem("additive", "ito", 3)
    found = solve(additive.field, additive.y0, [0.0, 1.0], solver=StepDoubling(EulerMaruyama()), controller=PID())
    assert found.stats.accepted > 5


def test_a_method_without_an_estimate_says_what_has_one():
    problem = sde_problem("diagonal", "ito", 3)
    with pytest.raises(IncompatibleError, match=r"no error estimate.*StepDoubling"):
        solve(problem.field, problem.y0, [0.0, 1.0], solver=Milstein(), controller=PID())


@pytest.mark.parametrize("method", [Milstein, "milstein", StepDoubling(Milstein())])
def test_what_is_no_method_is_not_doubled(method):
    with pytest.raises(IncompatibleError, match="method is"):
        StepDoubling(method)


def test_rejected_steps_are_replayed_on_the_same_path():
    problem = sde_problem("general", "stratonovich", 4)
    options = {"solver": SPaRK(), "controller": PID(rtol=1e-2, atol=1e-2)}
    grads = []
    for adjoint in (Direct(), Checkpointed(), Checkpointed(memory=8)):
        torch.manual_seed(3)
        solution = solve(problem.field, problem.y0, [0.0, 1.0], adjoint=adjoint, **options)
        assert solution.stats.rejected > 0
        grads.append(torch.autograd.grad(solution.ys[-1].square().sum(), problem.field.parts.strength)[0])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(grads[2], grads[0], rtol=1e-10, atol=1e-12)


def test_compiled_control_of_general_noise_takes_the_eager_steps():
    problem = sde_problem("general", "stratonovich", 4)
    path = BrownianPath(0.0, 1.0, (4, 2), seed=2, dtype=DTYPE, area="space-time")
    field, made = problem.field.driven_by(path), []
    for compile in (False, "require"):
        options = {"solver": SPaRK(), "controller": PID(rtol=1e-2, atol=1e-2), "compile": compile}
        solution = solve(field, problem.y0, [0.0, 1.0], per_sample=True, record_steps=True, **options)
        grad = torch.autograd.grad(solution.ys[-1].square().sum(), problem.field.parts.strength)[0]
        made.append((solution.ys, grad, solution.stats.accepted, solution.stats.rejected))
    assert int(made[0][3].sum()) > 0
    for eager, compiled in zip(*made, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-9, atol=1e-11)


def test_reversible_heun_is_undone_where_steps_vary():
    problem = sde_problem("general", "stratonovich", 4)
    grads = []
    for adjoint in ("direct", "reversible"):
        torch.manual_seed(3)
        solution = solve(
            problem.field, problem.y0, [0.0, 1.0], solver=ReversibleHeun(), controller=PID(rtol=5e-2, atol=5e-2),
            adjoint=adjoint,
        )  # fmt: skip
        assert solution.stats.rejected > 0
        grads.append(torch.autograd.grad(solution.ys[-1].square().sum(), problem.field.parts.strength)[0])
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-8, atol=1e-10)


def test_the_log_ode_method_knows_of_areas_what_increments_and_space_time_areas_tell():
    """Where two noises sweep an area, what is left of its variance is a third of what increments alone leave."""
    path = BrownianPath(0.0, 1.0, (20000, 2), seed=4, dtype=DTYPE, area="space-time", grid=256)
    field, y0 = swept().driven_by(path), torch.zeros(20000, 3, dtype=DTYPE)

    def final(method, steps):
        with torch.no_grad():
            return solve(field, y0, [0.0, 1.0], solver=method, controller=Fixed(steps=steps)).ys[-1, :, 2]

    fine = final(LogODE(), 256)
    left = [float((final(method, 1) - fine).var()) for method in (Heun(), LogODE())]
    assert left[0] == pytest.approx(1.0, rel=0.05)  # of twice the area, whose variance is a quarter
    assert left[1] == pytest.approx(1.0 / 3.0, rel=0.05)
