"""Gradients of steps that can be undone: no state is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from torchdyn_core.adjoint.base import Adjoint, Loop, autocast_state, under_transform
from torchdyn_core.adjoint.checkpointed import run_replayed, run_under_transform
from torchdyn_core.adjoint.tape import Advance, StepTape
from torchdyn_core.errors import GradientError, IncompatibleError, OptionError
from torchdyn_core.loop.problem import Problem, Record, Trajectory
from torchdyn_core.loop.transition import seen_field, step_times
from torchdyn_core.solver import State
from torchdyn_core.tree import Tree, leaves

__all__ = ["Reversible"]


@dataclass(frozen=True)
class Reversible(Adjoint):
    """Undo each accepted step algebraically and differentiate it: the exact gradient of the steps, no state kept.

    For methods that say of themselves that they are `reversible`. The first state that comes out of the backward pass
    is compared with the one that the solve began with: rounding that has grown on the way raises.

    Arguments:
        tolerance: How far it may be off, relative to its largest entry. Default: the root of the state's precision.

    Raises:
        OptionError: If the tolerance is not above 0.
        IncompatibleError: When a solve begins, if its method cannot undo steps.
        GradientError: In a backward pass, if the first state does not come back.

    References:
        | Zhuang, Dvornek, Tatikonda, Duncan (2021), MALI: a memory efficient and reverse accurate integrator for neural
          ODEs. arXiv 2102.04668
        | Kidger, Foster, Li, Lyons (2021), Efficient and accurate gradients for neural SDEs. arXiv 2105.13493

    Example:
        >>> from torchdyn_core import Fixed, Reversible, solve
        >>> import torch
        >>> try:
        ...     solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], controller=Fixed(steps=4), adjoint=Reversible())
        ... except TypeError as error:
        ...     print(str(error).split(';')[0])
        adjoint='reversible' undoes steps, which Tsitouras5 cannot
    """

    tolerance: float | None = None

    replays: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.tolerance is not None and not (isinstance(self.tolerance, (int, float)) and self.tolerance > 0):
            raise OptionError(f"tolerance={self.tolerance!r}; wanted None or a number above 0")

    def check(self, problem: Problem) -> None:
        if not problem.solver.reversible:
            raise IncompatibleError(
                f"adjoint='reversible' undoes steps, which {type(problem.solver).__name__} cannot; wanted a reversible "
                "method, or adjoint='checkpointed'"
            )

    def run(self, problem: Problem, loop: Loop) -> Trajectory:
        """Run the loop without a graph, and tell autograd how to come back from its end."""
        if under_transform():
            return run_under_transform(problem, "reversible")
        return run_replayed(problem, _ReversedTape(self.tolerance), "reversible")


class _ReversedTape(StepTape):
    """Keeps where a solve began and where it ended, and undoes the steps in between."""

    def __init__(self, tolerance: float | None) -> None:
        super().__init__()
        self._tolerance = tolerance
        self._first: Tree = None

    def _keep(self, index: int, y: Tree, carry: Tree) -> None:
        if index == 0:
            self._first = y

    def end(self, problem: Problem, y: Tree, carry: Tree) -> None:
        self._problem = replace(problem, ts=problem.ts.detach())
        self._last = y, carry
        self._context = autocast_state(problem.layout.device)

    def backwards(self, advance: Advance) -> Iterator[tuple[int, Record, Tree, Tree]]:
        y, carry = self._last
        for index in range(len(self.records) - 1, -1, -1):
            record = self.records[index]
            y, carry = self._undone(record, y, carry)
            if index == 0:
                self._compare(y)
            yield index, record, y, carry

    def _undone(self, record: Record, y: Tree, carry: Tree) -> tuple[Tree, Tree]:
        """The state and the carry that a step began with."""
        problem = self._problem
        with torch.no_grad(), self._context():
            times = step_times(problem, record)
            before, state = problem.solver.reverse(seen_field(problem, record), *times, y, State(carry))
        layout = problem.layout
        if layout.shared:
            return before, state.carry
        return layout.select(record.accepted, before, y), layout.select(record.accepted, state.carry, carry)

    def _compare(self, y: Tree) -> None:
        for got, kept in zip(leaves(y), leaves(self._first), strict=True):
            off = (got - kept).abs().max() if kept.numel() else 0.0
            tolerance = torch.finfo(kept.dtype).eps ** 0.5 if self._tolerance is None else self._tolerance
            if kept.numel() and not bool(off <= tolerance * kept.abs().max()):
                raise GradientError(
                    f"the steps were undone to a first state that is off by {float(off):.2g}, more than "
                    f"{tolerance:.2g} of its largest entry: rounding has grown on the way back. Wanted shorter "
                    "steps, float64, Reversible(tolerance=...) if that is near enough, or adjoint='checkpointed'"
                )
