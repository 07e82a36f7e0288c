"""Steps that are known in advance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.controller.contract import Span, StepController, Verdict, is_number
from torchdyn_core.errors import OptionError, ShapeError
from torchdyn_core.layout import Layout
from torchdyn_core.scalars import Flag, Scalar, absolute, negate, where
from torchdyn_core.tree import Tree

if TYPE_CHECKING:
    from torchdyn_core.binding import BoundField
    from torchdyn_core.solver import Solver

__all__ = ["Fixed"]


class FixedState(NamedTuple):
    """The grid's origin and end, and how many of its points were reached."""

    origin: Scalar
    end: Scalar
    index: Scalar


@dataclass(frozen=True, kw_only=True, eq=False)
class Fixed(StepController):
    """Steps on a grid that is known in advance. Give one of `dt`, `steps` and `grid`.

    Arguments:
        dt: Step size: `ceil(span / dt - 1e-9)` steps end at `t0 + i * dt`, the last one at the end.
        steps: Number of equal steps.
        grid: All step times, from the first to the last of the span, `(K,)`.
        jump_ts: Times at which the field jumps, `(K,)` or `(K, B)`: steps end there too.

    Raises:
        OptionError: If not exactly one of the three is given, or it makes no grid.

    Example:
        >>> import torch
        >>> from torchdyn_core import Euler, Fixed, solve
        >>> ts = torch.tensor([0.0, 1.0])
        >>> solve(lambda t, y: y, torch.ones(()), ts, solver=Euler(), controller=Fixed(dt=0.25)).ys[-1]
        tensor(2.4414)
    """

    dt: float | None = None
    steps: int | None = None
    grid: Tensor | Sequence[float] | None = None
    jump_ts: Tensor | Sequence[float] | None = None
    _points: list[float] = field(default_factory=list, init=False, repr=False)

    adaptive: ClassVar[bool] = False
    anchored: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = [name for name in ("dt", "steps", "grid") if getattr(self, name) is not None]
        if len(given) != 1:
            raise OptionError(f"Fixed got {given or 'nothing'}; wanted exactly one of dt=, steps=, grid=")
        if self.dt is not None and not (isinstance(self.dt, (int, float)) and 0 < self.dt < math.inf):
            raise OptionError(f"dt={self.dt!r}; wanted a finite number > 0 (its sign follows from ts)")
        if self.steps is not None and not (is_number(self.steps, 1) and isinstance(self.steps, int)):
            raise OptionError(f"steps={self.steps!r}; wanted a whole number >= 1")
        if self.grid is not None:
            object.__setattr__(self, "_points", _checked_grid(self.grid))
            object.__setattr__(self, "grid", torch.tensor(self._points, dtype=torch.float64))

    def check(self, span: Span) -> None:
        if self.grid is None:
            return
        first, last = self._points[0], self._points[-1]
        if _differ(span.start, first) or _differ(span.end, last):
            start, end = (x.tolist() if isinstance(x, Tensor) else x for x in (span.start, span.end))
            raise ShapeError(f"grid runs from {first:g} to {last:g}, ts from {start} to {end}; wanted equal ends")

    def init(
        self, field: BoundField, solver: Solver, span: Span, y0: Tree, slope: Callable[[], Tree], layout: Layout
    ) -> Any:
        return FixedState(span.start, span.end, layout.constant(0.0))

    def resume(self, control: FixedState, span: Span) -> Any:
        if self.dt is not None:
            # the earlier span may have ended between two points of the grid, and this one may run the other way
            reached = span.direction * (span.start - control.origin) / self.dt + 1e-9
            return FixedState(control.origin, span.end, _floor(reached))
        # A grid that depends on the span goes on only in the span it was made for.
        same = control.end == span.end
        if not (bool(same.all()) if isinstance(same, Tensor) else same):
            self.check(span)
        return FixedState(
            where(same, control.origin, span.start), span.end, where(same, control.index, 0.0 * control.index)
        )

    def target(self, control: FixedState, t: Scalar, span: Span) -> Scalar:
        following = control.index + 1.0
        length = absolute(span.end - control.origin)
        if self.grid is not None:
            if isinstance(following, Tensor):
                assert isinstance(self.grid, Tensor)
                grid = self.grid.to(following.device, following.dtype)
                place = following.long().clamp(max=len(grid) - 1)
                # flat, since a compiled loop would read a lone index as a Python number
                return grid.index_select(0, place.reshape(-1)).reshape(place.shape)
            return self._points[min(int(following), len(self._points) - 1)]
        if self.steps is not None:
            count, dt = float(self.steps), length / self.steps
        else:
            assert self.dt is not None
            dt = self.dt
            count = _ceil(span.direction * (span.end - control.origin) / dt - 1e-9)
        return where(following < count, control.origin + span.direction * following * dt, span.end)

    def within(self, span: Span, start: float, end: float) -> Fixed:
        if self.dt is not None:
            return self
        if self.steps is not None:
            length = absolute(span.end - span.start)
            if isinstance(length, Tensor):  # samples have steps of their own: those of the shortest serve all
                length = float(length[length > 0].min())
            return Fixed(grid=_equal(start, end, length / self.steps), jump_ts=self.jump_ts)
        low, high = min(start, end), max(start, end)
        inner = sorted((t for t in self._points if low < t < high), reverse=end < start)
        return Fixed(grid=[start, *inner, end], jump_ts=self.jump_ts)

    def normalised(self, longest: float) -> Fixed:
        if self.dt is not None:
            count = max(1, math.ceil(longest / self.dt - 1e-9))
        else:
            count = self.steps or len(self._points) - 1
        return Fixed(grid=_equal(0.0, 1.0, 1.0 / count))

    def error(self, error: Tree | None, y0: Tree, y1: Tree, layout: Layout) -> Scalar:
        return layout.constant(0.0)

    def decide(self, control: FixedState, t0: Scalar, t1: Scalar, cut: Flag, error: Scalar, order: int) -> Verdict:
        accept = error <= 1.0
        reached = accept & negate(cut)
        return Verdict(accept, control._replace(index=control.index + where(reached, 1.0, 0.0)), negate(accept))


def _equal(start: float, end: float, dt: float) -> list[float]:
    """Points `dt` apart. As a grid they are a tensor, an input of compiled solves, where a number is a constant."""
    direction, length = math.copysign(1.0, end - start), abs(end - start)
    count = math.ceil(length / dt - 1e-9)
    return [*(start + direction * index * dt for index in range(max(1, count))), end]


def _differ(a: Scalar, b: float) -> bool:
    """Whether a time of any sample is another one."""
    return bool((a != b).any()) if isinstance(a, Tensor) else a != b


def _floor(value: Scalar) -> Scalar:
    return torch.floor(value) if isinstance(value, Tensor) else float(math.floor(value))


def _ceil(value: Scalar) -> Scalar:
    return torch.ceil(value) if isinstance(value, Tensor) else math.ceil(value)


def _checked_grid(grid: Tensor | Sequence[float]) -> list[float]:
    """The grid as numbers, which a compiler that traces the solve can see."""
    if isinstance(grid, Tensor) or not all(isinstance(t, (int, float)) for t in grid):
        grid = torch.as_tensor(grid, dtype=torch.float64)
        if grid.dim() != 1:
            raise OptionError(f"grid has shape {tuple(grid.shape)}; wanted at least two finite times, (K,)")
        grid = grid.tolist()
    points = [float(t) for t in grid]
    if len(points) < 2 or not all(math.isfinite(t) for t in points):
        raise OptionError(f"grid holds {len(points)} times; wanted at least two, and all of them finite")
    steps = [after - before for before, after in pairwise(points)]
    if not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
        raise OptionError("grid is not strictly increasing or decreasing")
    return points
