"""The contract of step-size control: where steps end, and which are accepted."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor

from torchdyn_core.layout import Layout
from torchdyn_core.scalars import Flag, Scalar
from torchdyn_core.tree import Tree

if TYPE_CHECKING:
    from torchdyn_core.binding import BoundField
    from torchdyn_core.solver import Solver

__all__ = ["Span", "StepController", "Verdict", "is_number"]


class Span(NamedTuple):
    """Where a solve starts and ends, for each sample; `direction` is 1 or -1."""

    start: Scalar
    end: Scalar
    direction: Scalar


class Verdict(NamedTuple):
    """What becomes of a step: whether it is accepted, the controller's next state, whether it can go no smaller."""

    accept: Flag
    control: Any
    exhausted: Flag


class StepController(ABC):
    """Decides where each step ends and whether it counts.

    A controller is frozen. Its formulas serve Python floats and tensors `(B,)` alike: write them with the functions of
    `torchdyn_core.scalars`. Its state is a NamedTuple of scalars.

    Attributes:
        adaptive: Whether it needs the solver's error estimate.
        anchored: Whether step times move along with `ts[0]` behind a jump too, as those of a grid do.
        jump_ts: Times at which the field jumps, `(K,)` or `(K, B)`: steps end there.
    """

    adaptive: ClassVar[bool]
    anchored: ClassVar[bool] = False
    jump_ts: Tensor | Sequence[float] | None

    @abstractmethod
    def init(
        self, field: BoundField, solver: Solver, span: Span, y0: Tree, slope: Callable[[], Tree], layout: Layout
    ) -> Any:
        """The state to start from. `slope()` gives dy/dt at the start, from the solver's cache where it is there."""

    def check(self, span: Span) -> None:  # noqa: B027 - most controllers step through any span
        """Raise `ShapeError` for a span that the control does not fit, before a solve begins in it."""

    def resume(self, control: Any, span: Span) -> Any:
        """The state to go on from in a new span; `control` is the state of an earlier solve."""
        return control

    def within(self, span: Span, start: float, end: float) -> StepController:
        """The same control for a part of the span, in either direction: what a continuous adjoint steps with."""
        return self

    def normalised(self, longest: float) -> StepController:
        """The same control for a time that runs from 0 to 1 in place of at most `longest`."""
        return self

    @abstractmethod
    def target(self, control: Any, t: Scalar, span: Span) -> Scalar:
        """Where the next step would end, were there no jump and no end."""

    @abstractmethod
    def error(self, error: Tree | None, y0: Tree, y1: Tree, layout: Layout) -> Scalar:
        """The size of a local error in units of what is tolerated."""

    @abstractmethod
    def decide(self, control: Any, t0: Scalar, t1: Scalar, cut: Flag, error: Scalar, order: int) -> Verdict:
        """Judge a step. `cut` tells that it ended before its target."""


def is_number(value: object, least: float) -> bool:
    """Whether an option is a finite number, and not below `least`."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= least
