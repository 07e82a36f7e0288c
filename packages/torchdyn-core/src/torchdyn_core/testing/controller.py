"""What every step-size controller has to do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from torchdyn_core.binding import BoundField
from torchdyn_core.controller import StepController
from torchdyn_core.field import VectorField
from torchdyn_core.methods import DormandPrince5
from torchdyn_core.solution import Solution
from torchdyn_core.solve import solve
from torchdyn_core.solver import Solver, State, Step
from torchdyn_core.testing.problems import Rotation, rotation
from torchdyn_core.testing.suite import Suite
from torchdyn_core.tree import Tree, tree_map

__all__ = ["ControllerSuite"]

DTYPE = torch.float64


class ControllerSuite(Suite[StepController], suite=True):
    """Arriving, in both directions; rows on their own; reports, jumps and resuming that change nothing.

    The controller is made for spans within [0, 2]; its tolerances, where it has any, are to be 1e-3 or less.

    Example:
        >>> from torchdyn_core import PID
        >>> from torchdyn_core.testing import ControllerSuite
        >>> class TestTight(ControllerSuite):
        ...     def make(self):
        ...         return PID(rtol=1e-6, atol=1e-6)
    """

    @pytest.mark.parametrize("per_sample", [False, True])
    @pytest.mark.parametrize("backwards", [False, True])
    def test_it_arrives(self, per_sample: bool, backwards: bool) -> None:
        """Steps run from the first time to the last, without turning back, and end there bit for bit."""
        solution = self._solve(backwards=backwards, per_sample=per_sample, record_steps=True)
        assert solution.success and solution.steps is not None
        times = solution.steps[0]
        assert torch.equal(times[[0, -1]], solution.ts[[0, -1]])
        moves = times.diff(dim=0) * (-1 if backwards else 1)
        assert bool((moves >= 0).all()) and bool((moves > 0).any(0).all())
        want = rotation().at(float(solution.ts[-1].flatten()[0]))
        assert float((solution.ys[-1] - want).detach().abs().max()) < 0.05

    def test_numbers_and_tensors_go_through_the_same_formulas(self) -> None:
        """One row with steps of its own takes the steps that it takes alone with shared ones."""
        y0 = rotation().y0[2:3]
        shared, each = (self._solve(y0=y0, per_sample=flag, record_steps=True) for flag in (False, True))
        assert shared.steps is not None and each.steps is not None
        torch.testing.assert_close(shared.steps[0], each.steps[0][:, 0], rtol=1e-12, atol=1e-13)

    def test_a_sample_does_not_depend_on_its_company(self) -> None:
        """Rows step on their own."""
        y0 = rotation().y0
        together = self._solve(y0=y0, per_sample=True).ys[-1]
        for row in range(len(y0)):
            alone = self._solve(y0=y0[row : row + 1], per_sample=True).ys[-1]
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-12, atol=1e-13)

    def test_reports_do_not_change_the_steps(self) -> None:
        """As many of them as one likes."""
        few, many = (self._solve(points=points, record_steps=True) for points in (2, 40))
        assert few.steps is not None and many.steps is not None
        assert torch.equal(few.steps[0], many.steps[0]) and torch.equal(few.ys[-1], many.ys[-1])

    @pytest.mark.parametrize("per_sample", [False, True])
    def test_steps_end_at_jumps(self, per_sample: bool) -> None:
        """The field says where, and so does the controller where it is a dataclass with `jump_ts`."""

        class Jumping(Rotation):
            def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor:
                return torch.tensor([0.7123], dtype=DTYPE)

        controller, jumps = self.make(), [0.7123]
        if "jump_ts" in {field.name for field in dataclasses.fields(controller)}:  # type: ignore[arg-type]
            controller, jumps = dataclasses.replace(controller, jump_ts=[1.2345]), [0.7123, 1.2345]  # type: ignore[type-var]
        solution = self._solve(Jumping(), controller=controller, per_sample=per_sample, record_steps=True)
        assert solution.success and solution.steps is not None
        for jump in jumps:
            assert bool((solution.steps[0] == jump).any(0).all())

    def test_a_resumed_solve_is_the_same_solve(self) -> None:
        """A solve that stops on the way and goes on from `final` takes the steps of one that does not stop there."""
        field, y0 = Rotation(), rotation().y0
        whole = self._solve(field, record_steps=True)
        assert whole.steps is not None
        half = len(whole.steps[0]) // 2
        stop, ts = whole.steps[0][half], whole.ts
        options: dict[str, Any] = {"solver": self._solver(), "controller": self.make(), "record_steps": True}
        first = solve(field, y0, torch.stack((ts[0], stop)), **options)
        rest = solve(field, first.final, torch.stack((stop, ts[-1])), **options)
        assert rest.steps is not None
        torch.testing.assert_close(rest.steps[0], whole.steps[0][half:], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(rest.ys[-1], whole.ys[-1], rtol=1e-12, atol=1e-13)

    def test_a_step_that_is_too_long_is_rejected(self) -> None:
        """With an error estimate that allows steps of 0.05, no accepted step is longer."""
        if not self.make().adaptive:
            pytest.skip("steps are known in advance")
        solution = self._solve(solver=_Strict(), record_steps=True)
        assert solution.steps is not None and solution.success
        assert float(solution.steps[0].diff().max()) <= 0.05 and int(solution.stats.rejected) > 0

    def test_it_is_frozen(self) -> None:
        """A dataclass that nothing can be written to: one controller serves many solves at once."""
        controller = self.make()
        assert dataclasses.is_dataclass(controller)
        for field in dataclasses.fields(controller):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(controller, field.name, None)

    def _solver(self) -> Solver:
        return DormandPrince5()

    def _solve(
        self,
        field: VectorField | None = None,
        y0: Tree = None,
        *,
        backwards: bool = False,
        points: int = 2,
        solver: Solver | None = None,
        controller: StepController | None = None,
        **options: Any,
    ) -> Solution:
        ts = torch.linspace(0.0, 2.0, points, dtype=DTYPE)
        start = rotation().at(2.0 if backwards else 0.0) if y0 is None else y0
        if options.get("per_sample"):
            ts = ts[:, None].expand(-1, len(start))
        ts = ts.flip(0) if backwards else ts
        options = {"solver": solver or self._solver(), "controller": controller or self.make(), **options}
        return solve(field or Rotation(), start, ts, **options)


class _Strict(DormandPrince5):
    """Calls every step longer than 0.05 a hundred times too wrong, and every other one right."""

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        step = super().step(field, t0, t1, y, state)
        size = 100.0 if float((t1 - t0).abs().max()) > 0.05 else 1e-9
        return step._replace(error=tree_map(lambda leaf: torch.full_like(leaf, size), y))
