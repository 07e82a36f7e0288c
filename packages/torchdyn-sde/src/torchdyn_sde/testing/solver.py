"""What every method that steps an `SDEField` has to do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from torchdyn_core import PID, Direct, Fixed, IncompatibleError, Solver, solve
from torchdyn_core.testing.measure import slope
from torchdyn_core.testing.problems import Problem
from torchdyn_core.testing.solver_compiled import CompiledSuite
from torchdyn_core.testing.solver_step import StepSuite
from torchdyn_core.testing.steps import STEPS, in_double, skip_unless
from torchdyn_sde.brownian import BrownianPath
from torchdyn_sde.field import SDEField
from torchdyn_sde.noise import NOISES
from torchdyn_sde.solver import SDESolver, StrongOrder
from torchdyn_sde.testing.problems import SDEProblem, sde_problem

__all__ = ["SDESolverSuite"]

DTYPE = torch.float64
_KINDS = StrongOrder._fields
_STEPS = (8, 16, 32, 64)
_FINE = 1024
_TOLERANCES = (1e-1, 1e-2, 1e-3)


class SDESolverSuite(StepSuite, CompiledSuite, suite=True):
    """Strong orders for each kind of noise, a weak order, and the contract of a step: purity, dtypes, rows, gradients.

    What the method declares of itself decides which tests apply: `strong_order`, `weak_order`, `interpretation`,
    `reversible`.

    Example:
        >>> from torchdyn_sde import Heun
        >>> from torchdyn_sde.testing import SDESolverSuite
        >>> class TestHeun(SDESolverSuite):
        ...     def make(self):
        ...         return Heun()
    """

    tolerance = 1e-2  # steps fall with its square, where noises make the order a half

    def problem(self) -> Problem:
        """Five paths of a kind of noise that the method serves."""
        method = _method(self.make())
        noise = "diagonal" if method.strong_order.diagonal else method.strong_order.served()[0]
        return _as_core_sees_it(sde_problem(noise, method.interpretation, 5), method)

    def tree_problem(self) -> Problem | None:
        """None: of each kind of noise trees are tried with the fields."""
        return None

    @pytest.mark.parametrize("noise", _KINDS)
    def test_strong_order(self, noise: str) -> None:
        """The mean error of paths falls with the step size as `strong_order` says, within 0.2."""
        method = _method(self.make())
        claimed = getattr(method.strong_order, noise)
        if claimed is None:
            pytest.skip(f"{type(method).__name__} does not serve {noise} noise")
        problem = sde_problem(noise, method.interpretation, 400)
        path = BrownianPath(0.0, 1.0, _noise_shape(problem), seed=7, dtype=DTYPE, area=method.area, grid=_FINE)
        want = _final(method, problem, path, _FINE) if problem.exact is None else problem.exact(_ONE, path(_ZERO, _ONE))
        errors = [float((_final(method, problem, path, steps) - want.detach()).abs().mean()) for steps in _STEPS]
        found = slope([(1.0 / steps, error) for steps, error in zip(_STEPS, errors, strict=True)])
        assert abs(found - claimed) < 0.2, f"order {found:.2f} for {noise} noise, claimed {claimed}: errors {errors}"

    @pytest.mark.parametrize("noise", _KINDS)
    def test_step_size_control(self, noise: str) -> None:
        """The mean error of paths falls with the tolerance, steps being chosen by looking at the noise."""
        method = _method(self.make())
        skip_unless(method.has_error_estimate, method, "has no error estimate")
        served = getattr(method.strong_order, noise) is not None and (method.pathwise or noise == "additive")
        skip_unless(served, method, f"does not serve {noise} noise with step-size control")
        problem = sde_problem(noise, method.interpretation, 60)
        path = BrownianPath(0.0, 1.0, _noise_shape(problem), seed=5, dtype=DTYPE, area=method.area)
        field = problem.field.driven_by(path)
        want = (
            _solved(method, field, problem.y0, _FINE)
            if problem.exact is None
            else problem.exact(_ONE, path(_ZERO, _ONE))
        )
        errors, counts = [], []
        for rtol in _TOLERANCES:
            control = PID(rtol=rtol, atol=rtol)
            with torch.no_grad():
                found = solve(field, problem.y0, [0.0, 1.0], solver=method, controller=control, per_sample=True)
            errors.append(float((found.ys[-1] - want.detach()).abs().mean()))
            counts.append(float(torch.as_tensor(found.stats.accepted, dtype=DTYPE).mean()))
        assert errors[0] < 0.2 and counts[-1] > 1.5 * counts[0], (errors, counts)
        assert errors[-1] < 0.5 * errors[0], (errors, counts)

    def test_weak_order(self) -> None:
        """The error of a mean falls at least as `weak_order` says, less 0.3."""
        method = _method(self.make())
        additive = method.strong_order.diagonal is None
        steps = (1, 2, 4, 8) if method.weak_order > 1 else (2, 4, 8, 16)
        field, mean = _growing(method, additive)
        y0 = torch.ones(100_000, 1, dtype=DTYPE)
        path = BrownianPath(0.0, 1.0, (100_000, 1), seed=3, dtype=DTYPE, area=method.area, grid=16, antithetic=True)
        errors = [abs(float(mean(_solved(method, field.driven_by(path), y0, count), path))) for count in steps]
        found = slope([(1.0 / count, error) for count, error in zip(steps, errors, strict=True)])
        assert found > method.weak_order - 0.3, f"weak order {found:.2f}, claimed {method.weak_order}: errors {errors}"

    def test_every_noise_is_served_or_refused(self) -> None:
        """A field with noise, or in a sense, that the method does not serve is refused by name."""
        method, y0 = _method(self.make()), torch.zeros(3, 2, dtype=DTYPE)
        other = "stratonovich" if method.interpretation == "ito" else "ito"
        for noise in NOISES:
            for sense in ("ito", "stratonovich"):
                problem = sde_problem(noise, sense, 3)
                served = noise in method.strong_order.served() and (sense != other or noise == "additive")
                if served:
                    assert bool(_solved(method, problem.field, problem.y0, 2).isfinite().all())
                else:
                    with pytest.raises(IncompatibleError, match=type(method).__name__):
                        _solved(method, problem.field, y0, 2)

    def test_rows_with_seeds_of_their_own_are_alone(self) -> None:
        """With a seed for each row, and steps per sample, a row does not depend on its company."""
        method = in_double(self.make())
        problem = self.problem()
        field, seeds = problem.field, torch.arange(5)
        assert isinstance(field, SDEField) and isinstance(field.path, BrownianPath)
        size = field.path.shape.sizes[0][1:]  # type: ignore[union-attr]

        def run(rows: slice) -> Tensor:
            path = BrownianPath(
                0.0, 1.0, (len(seeds[rows]), *size), seed=seeds[rows], dtype=DTYPE, area="space-time-time"
            )
            control = Fixed(steps=6)
            options = {"solver": method, "controller": control, "per_sample": True}
            with torch.no_grad():
                ys: Tensor = solve(field.driven_by(path), problem.y0[rows], [0.0, 1.0], **options).ys[-1]  # type: ignore[arg-type]
            return ys

        together = run(slice(None))
        for row in range(5):
            torch.testing.assert_close(run(slice(row, row + 1))[0], together[row], rtol=1e-12, atol=1e-13)


_ZERO, _ONE = torch.tensor(0.0, dtype=DTYPE), torch.tensor(1.0, dtype=DTYPE)


def _method(solver: Solver) -> SDESolver:
    assert isinstance(solver, SDESolver), f"{type(solver).__name__} is no SDESolver"
    return in_double(solver)  # type: ignore[return-value]


def _noise_shape(problem: SDEProblem) -> tuple[int, ...]:
    rows = len(problem.y0)
    return (rows, 1) if problem.field.noise.name == "scalar" else (rows, 2)


def _as_core_sees_it(problem: SDEProblem, method: SDESolver) -> Problem:
    """The problem on a path of its own; what core asks for as its solution are states at any time."""
    shape = _noise_shape(problem)
    path = BrownianPath(0.0, 1.0, shape, seed=11, dtype=DTYPE, area=method.area, grid=STEPS, levels=6)
    states = problem.y0
    return Problem(problem.field.driven_by(path), lambda t: states.expand(len(t), *states.shape), 0.0, 1.0)


def _solved(method: SDESolver, field: SDEField, y0: Tensor, steps: int) -> Tensor:
    with torch.no_grad():
        control = Fixed(steps=steps)
        ys: Tensor = solve(field, y0, [0.0, 1.0], solver=method, controller=control, adjoint=Direct()).ys[-1]
    return ys


def _final(method: SDESolver, problem: SDEProblem, path: BrownianPath, steps: int) -> Tensor:
    return _solved(method, problem.field.driven_by(path), problem.y0, steps)


def _growing(method: SDESolver, additive: bool):  # type: ignore[no-untyped-def]
    """An equation whose mean is known, and how much a solution's is beside it, on the very paths.

    Growth at random rate: what is compared are solutions on the same paths, whose difference varies less than they do.
    """
    rate, noise = 0.7, 0.4
    if additive:
        field = SDEField(lambda t, y: rate * y, lambda t, y: noise * torch.ones_like(y), noise="additive")
        return field, lambda y, path: y.mean() - math.exp(rate)
    sense = method.interpretation
    drift = rate - (0.0 if sense == "ito" else 0.5 * noise**2)
    field = SDEField(lambda t, y: drift * y, lambda t, y: noise * y, interpretation=sense)

    def beside(y: Tensor, path: BrownianPath) -> Tensor:
        return (y - torch.exp((rate - 0.5 * noise**2) + noise * path(_ZERO, _ONE))).mean()

    return field, beside
