"""Explicit Runge-Kutta methods: the arithmetic, once, over a tableau."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from torchdyn_core.field import cast, real_dtype
from torchdyn_core.solver import Solver, State, Step
from torchdyn_core.tableau import ButcherTableau, nodes
from torchdyn_core.tree import Tree, add_scaled, align, leaves, tree_map, weighted_sum

if TYPE_CHECKING:
    from torchdyn_core.binding import BoundField

__all__ = ["ExplicitRungeKutta"]


class ExplicitRungeKutta(Solver):
    """An explicit Runge-Kutta method: subclass it and give `order`, `dense_order` and `tableau`.

    Arithmetic is on slopes scaled by the step size, `dt * k`: a stage is then a chain of fused multiply-adds
    with Python numbers, the same for shared steps and for steps per sample.

    Attributes:
        tableau: The method's coefficients.

    Example:
        >>> from torchdyn_core import ButcherTableau, ExplicitRungeKutta
        >>> class Midpoint2(ExplicitRungeKutta):
        ...     order, dense_order = 2, 1
        ...     tableau = ButcherTableau(c=(0.0, 0.5), a=((0.5,),), b=(0.0, 1.0), dense=((0.0,), (1.0,)))
    """

    tableau: ClassVar[ButcherTableau]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "tableau" in cls.__dict__:
            cls.has_error_estimate = cls.tableau.error is not None
        if "step" in cls.__dict__ and "advance" not in cls.__dict__:
            cls.advance = Solver.advance  # type: ignore[method-assign] # replays do what `step` does, not the tableau

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def init(self, field: BoundField, t0: Tensor, t1: Tensor, y0: Tree) -> State:
        """The first slope, for methods whose last stage is the next first one."""
        return State(cache=field(t0, y0) if self.tableau.first_same_as_last else None)

    def slope(self, field: BoundField, t0: Tensor, y: Tree, state: State) -> Tree:
        """The cached slope where there is one."""
        return field(t0, y) if state.cache is None else state.cache

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        """All stages, the solution, its error estimate."""
        tableau = self.tableau
        y1, scaled, last = self._stages(field, t0, t1, y, state, len(tableau.c))
        error = None
        if tableau.error is not None:
            error = weighted_sum(scaled, tableau.error)
            if tableau.error_low is not None:
                error = tree_map(_combine_estimates, error, weighted_sum(scaled, tableau.error_low))
        cost = len(tableau.c) - (state.cache is not None)
        return Step(y1, error, State(cache=last), tuple(scaled), True, cost)

    def advance(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        """The solution alone: the last stage of a method whose first is its last is left out."""
        tableau = self.tableau
        count = len(tableau.c) - tableau.first_same_as_last
        y1, scaled, _ = self._stages(field, t0, t1, y, state, count)
        return Step(y1, None, State(), tuple(scaled), True, count - (state.cache is not None))

    def _stages(
        self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State, count: int
    ) -> tuple[Tree, list[Tree], Tree | None]:
        """The solution, the scaled slopes of the first `count` stages, and the last slope where it is reused."""
        tableau = self.tableau
        times = _stage_times(tableau.c[:count], t0, t1, y)
        slope = field(t0, y) if state.cache is None else state.cache
        dt = _step_size(t1 - t0, y)
        scaled, stage = [_scale(dt, slope)], y
        for row, time in zip(tableau.a[: count - 1], times[1:], strict=True):
            stage = add_scaled(y, scaled, row)
            slope = field(time, stage)
            scaled.append(_scale(dt, slope))
        if not tableau.first_same_as_last:
            return add_scaled(y, scaled, tableau.b), scaled, None
        if count == len(tableau.c):
            return stage, scaled, slope
        return add_scaled(y, scaled, tableau.b), scaled, None

    def extend(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, step: Step) -> Tree:
        """The extra stages of the continuous extension."""
        scaled = list(step.dense)
        dt = _step_size(t1 - t0, y)
        for node, row in self.tableau.extra:
            time = _stage_times((node,), t0, t1, y)[0]
            scaled.append(_scale(dt, field(time, add_scaled(y, scaled, row))))
        return tuple(scaled)

    def interpolate(self, theta: Tensor, t0: Tensor, t1: Tensor, y0: Tree, y1: Tree, dense: Tree) -> Tree:
        """The continuous extension of the tableau."""
        weights = [_polynomial(row, theta) for row in self.tableau.dense]

        def leaf(start: Tensor, *scaled: Tensor) -> Tensor:
            for weight, slope in zip(weights, scaled, strict=True):
                if weight is not None:
                    start = start + cast(align(weight, slope), real_dtype(slope)) * slope
            return start

        return tree_map(leaf, y0, *dense)


def _step_size(dt: Tensor, y: Tree) -> Tree:
    """The step size as it multiplies each leaf of the state: aligned with its rows, in its real dtype."""
    return tree_map(lambda leaf: cast(align(dt, leaf), real_dtype(leaf)), y)


def _scale(dt: Tree, slope: Tree) -> Tree:
    if isinstance(slope, Tensor):
        return dt * slope
    return tree_map(torch.mul, dt, slope)


def _stage_times(c: tuple[float, ...], t0: Tensor, t1: Tensor, y: Tree) -> list[Tensor]:
    """`t0 + c * (t1 - t0)`, all at once; the ends are `t0` and `t1` themselves, never a rounding beyond them.

    They come in the state's real dtype, which the field would cast each of them to.
    """
    dtype = real_dtype(y if isinstance(y, Tensor) else leaves(y)[0])
    inner = tuple(node for node in c if node not in (0.0, 1.0))
    between: tuple[Tensor, ...] = ()
    if torch.compiler.is_compiling():  # scalars that are fused into the stage cost less than a tensor of nodes
        between = tuple(cast(torch.lerp(t0, t1, node), dtype) for node in inner)
    elif inner:
        fractions = nodes(inner, t0.dtype, t0.device)
        if t0.dim():
            fractions = fractions.reshape(-1, *(1,) * t0.dim())
        between = cast(torch.lerp(t0, t1, fractions), dtype).unbind(0)
    rest = iter(between)
    end = cast(t1, dtype)
    return [t0 if node == 0.0 else end if node == 1.0 else next(rest) for node in c]


def _polynomial(row: tuple[float, ...], theta: Tensor) -> Tensor | None:
    """`sum_j row[j] * theta**(j+1)` by Horner's rule; None for the zero polynomial."""
    if not any(row):
        return None
    value = theta * row[-1]
    for coefficient in reversed(row[:-1]):
        value = (value + coefficient) * theta
    return value


def _combine_estimates(high: Tensor, low: Tensor) -> Tensor:
    """Hairer's mix of the 5th- and 3rd-order estimates of DOP853, entry by entry (II.10 (10.18))."""
    square = high.abs().square()
    mixed = (square + 0.01 * low.abs().square()).sqrt()
    return torch.where(mixed > 0, square / torch.where(mixed > 0, mixed, torch.ones_like(mixed)), mixed)
