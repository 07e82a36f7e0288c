"""What a solve returns."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.errors import IncompatibleError
from torchdyn_core.scalars import Flag, Scalar
from torchdyn_core.tree import Tree

__all__ = ["Final", "Solution", "Stats", "Status"]


class Status(enum.IntEnum):
    """How the integration of a sample ended."""

    SUCCESS = 0
    MAX_STEPS = 1
    STEP_TOO_SMALL = 2
    NOT_FINITE = 3

    @property
    def cause(self) -> str:
        """What probably went wrong, and what to do."""
        return _CAUSES[self]


_CAUSES = {
    Status.SUCCESS: "the last time was reached",
    Status.MAX_STEPS: "max_steps was used up: raise it, loosen the tolerance, or suspect stiffness (many tiny steps)",
    Status.STEP_TOO_SMALL: "the step size fell below dt_min or the resolution of t: the field is stiff or explodes "
    "there, jumps (declare the time in jump_ts), or the tolerance is below the rounding of the state's dtype",
    Status.NOT_FINITE: "the field returned NaN or inf there",
}


@dataclass
class Stats:
    """What a solve cost.

    Arguments:
        steps: Steps tried.
        accepted: Steps accepted: an int, or `(B,)` with steps per sample.
        rejected: Steps rejected, likewise.
        evaluations: Evaluations of the field in the forward pass (of the whole batch at once).
        backward_evaluations: Evaluations in backward passes so far, replayed steps included.
        replayed: Steps recomputed in backward passes so far.
    """

    steps: int = 0
    accepted: int | Tensor = 0
    rejected: int | Tensor = 0
    evaluations: int = 0
    backward_evaluations: int = 0
    replayed: int = 0


@dataclass(frozen=True, eq=False)
class Final:
    """Where a solve stopped: hand it to `solve` in place of `y0` to go on as if it had not.

    Arguments:
        t: The time reached, a float or `(B,)`.
        y: The state there.
        carry: The solver's history.
        control: The controller's state: step size, past errors; None where no step was tried.
        started: Which samples had a span to step through, now or in an earlier solve.
        parts: The solver and the controller.
        field: The field that was solved, and as what it had begun: what was drawn stays drawn.

    Example:
        >>> import torch
        >>> from torchdyn_core import solve
        >>> first = solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0])
        >>> solve(lambda t, y: -y, first.final, [1.0, 2.0]).ys[-1]
        tensor([0.1355])
    """

    t: Scalar
    y: Tree
    carry: Tree
    control: Any
    started: Flag
    parts: tuple[object, object]
    field: tuple[object, object]


@dataclass(frozen=True, eq=False)
class Solution:
    """A solved initial value problem.

    Arguments:
        ts: The times asked for.
        ys: The state (or `save(t, y)`) at these times; rows that were not reached hold the last good state.
        valid: Which rows were reached.
        status: A `Status` for the solve, `()`, or for each sample, `(B,)`.
        stats: What it cost.
        events: Reserved for located events; None.
        integral: The integral of `integral_loss` over the span; None without one.
        steps: With `record_steps`: times and states of all accepted steps, the start included (rows of a
            sample that has fewer repeat its last one).
        final: The last state with the solver's and controller's memory, to resume from.

    Shapes:
        ts: `(T,)` or `(T, B)`.  ys: `(T, *y0.shape)` for each leaf.  valid: `(T,)` or `(T, B)`.

    Example:
        >>> import torch
        >>> from torchdyn_core import solve
        >>> solution = solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], dense=True)
        >>> solution.success, solution.stats.rejected
        (True, 0)
        >>> solution.evaluate(0.5)
        tensor([0.6063])
    """

    ts: Tensor
    ys: Tree
    valid: Tensor
    status: Tensor
    stats: Stats
    events: None
    integral: Tree
    steps: tuple[Tensor, Tree] | None
    final: Final
    _evaluate: Callable[[Tensor], Tree] | None = field(default=None, repr=False)

    @property
    def success(self) -> bool:
        """Whether every sample reached the last time."""
        return bool((self.status == int(Status.SUCCESS)).all())  # Dynamo takes no member of an enum

    def evaluate(self, t: Tensor | float) -> Tree:
        """The state at any time of the span, from the dense output; differentiable in `t`, `y0` and parameters.

        Arguments:
            t: `()` or `(M,)`: times for all samples; with steps per sample also `(M, B)`.

        Returns:
            The state, with the axes of `t` in front (`(M, *y0.shape)`).

        Raises:
            IncompatibleError: If `solve` was not called with `dense=True`.
            ShapeError: If a time lies outside of what was integrated.
        """
        if self._evaluate is None:
            raise IncompatibleError("this solution has no dense output; wanted solve(..., dense=True)")
        return self._evaluate(torch.as_tensor(t, dtype=self.ts.dtype, device=self.ts.device))
