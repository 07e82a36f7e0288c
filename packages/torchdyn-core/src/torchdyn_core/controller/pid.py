"""Steps chosen from the error estimate: the only home of tolerances."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.controller.contract import Span, StepController, Verdict, is_number
from torchdyn_core.controller.revisiting import DEPTH, kept, nearest, nothing_ahead
from torchdyn_core.errors import OptionError
from torchdyn_core.field import VectorField, real_dtype
from torchdyn_core.layout import Layout
from torchdyn_core.scalars import Flag, Scalar, absolute, is_finite, maximum, minimum, negate, power, where
from torchdyn_core.tree import Tree, align, leaves, tree_map

if TYPE_CHECKING:
    from torchdyn_core.binding import BoundField
    from torchdyn_core.solver import Solver

__all__ = ["PID", "PIDState"]


class PIDState(NamedTuple):
    """The step size to try next, the errors of the last two accepted steps, and whether a step was just rejected."""

    dt: Scalar
    error1: Scalar
    error2: Scalar
    rejected: Flag


def _kind(name: str, *more: str) -> Any:
    """A state of another kind: of the same scalars, and more."""
    return namedtuple(name, (*PIDState._fields, *more))


_MEMORY = len(PIDState._fields)
DrivenState = _kind("DrivenState")
RevisitingState = _kind("RevisitingState", *(f"ahead{place}" for place in range(DEPTH)))
_ROUND = 2.0**46 + 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class PID(StepController):
    r"""Proportional-integral-derivative control of the local error.

    A step is accepted if the norm of `error / (atol + rtol * max(|y0|, |y1|))` is at most 1; the next step size is
    `safety * e_n^(-b1/k) * e_{n-1}^(-b2/k) * e_{n-2}^(-b3/k)` times the last one, `k` being the solver's order,
    `b1 = p + i + d`, `b2 = -(p + 2d)`, `b3 = d`. The default (`i` alone) is the classical controller of Hairer
    and SciPy. Where noise drives the solution, step sizes have seven binary digits: the last digits of a step's end,
    which no two devices have alike, would be in the solution's first ones soon.

    Arguments:
        rtol: Relative tolerance, a number or a tensor that broadcasts against the state.
        atol: Absolute tolerance, in the state's unit, likewise.
        pcoeff: Proportional coefficient; 0.2 to 0.4 smooths step sizes where the field is mildly stiff.
        icoeff: Integral coefficient.
        dcoeff: Derivative coefficient.
        safety: Factor on every proposed step size.
        factor_min: The most that a step size may shrink at once.
        factor_max: The most that it may grow at once.
        dt0: First step size; None to choose it by Hairer's rule (one evaluation), or where noise drives the solution
            to begin with a thousandth of the span.
        dt_min: A step rejected at this size ends the solve.
        dt_max: Largest step size.
        jump_ts: Times at which the field jumps, `(K,)` or `(K, B)`: steps end there.
        revisit_rejected: Whether a step has to end wherever a rejected one did, and a rejected step is halved.
            None: where the field asks for it, as equations whose noises do not commute do: without it their solutions
            are biased by any control that looks at the noise.
        norm: Takes the error divided by its tolerance, a tree like the state, and returns a number (with steps per
            sample `(B,)`). Default: root mean square.

    Raises:
        OptionError: If a value makes no sense.

    References:
        | Soederlind (2003), Digital filters in adaptive time-stepping. doi:10.1145/641876.641877
        | Hairer, Noersett, Wanner (1993), Solving Ordinary Differential Equations I, II.4.
        | Foster, Jelincic (2023), On the convergence of adaptive approximations for stochastic differential equations.
          arXiv 2311.14201

    Example:
        >>> import torch
        >>> from torchdyn_core import PID, solve
        >>> ts = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> tight = solve(lambda t, y: -y, torch.ones(1).double(), ts, controller=PID(rtol=1e-9, atol=1e-9))
        >>> abs(tight.ys[-1].item() - 0.36787944117144233) < 1e-8
        True
    """

    rtol: float | Tensor = 1e-3
    atol: float | Tensor = 1e-6
    pcoeff: float = 0.0
    icoeff: float = 1.0
    dcoeff: float = 0.0
    safety: float = 0.9
    factor_min: float = 0.2
    factor_max: float = 10.0
    dt0: float | None = None
    dt_min: float = 0.0
    dt_max: float = math.inf
    jump_ts: Tensor | Sequence[float] | None = None
    revisit_rejected: bool | None = None
    norm: Callable[[Tree], Tensor] | None = None

    adaptive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            fine = (
                bool((torch.isfinite(value) & (value >= 0)).all())
                if isinstance(value, Tensor)
                else is_number(value, 0.0)
            )
            if not fine:
                raise OptionError(f"{name}={value!r}; wanted a finite number >= 0")
        neither = (self.rtol == 0) & (self.atol == 0)
        if bool(neither.any()) if isinstance(neither, Tensor) else neither:
            raise OptionError("rtol=0 and atol=0; wanted at least one above 0: no step would be accepted")
        for name in ("safety", "factor_min", "factor_max", "dt_min", "dt_max", "dt0"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) or (name == "dt0" and value is None)):
                raise OptionError(f"{name}={value!r}; wanted a number")
        if not (self.revisit_rejected is None or isinstance(self.revisit_rejected, bool)):
            raise OptionError(f"revisit_rejected={self.revisit_rejected!r}; wanted True, False or None")
        if self.norm is not None and not callable(self.norm):
            raise OptionError(f"norm={self.norm!r}; wanted a function of the error divided by its tolerance")
        wanted = {
            "safety": 0 < self.safety <= 1,
            "factor_min": 0 < self.factor_min < 1,
            "factor_max": 1 < self.factor_max < math.inf,
            "dt_min": 0 <= self.dt_min < math.inf,
            "dt_max": self.dt_max > max(0.0, self.dt_min),
            "dt0": self.dt0 is None or 0 < self.dt0 < math.inf,
        }
        for name, fine in wanted.items():
            if not fine:
                raise OptionError(
                    f"{name}={getattr(self, name)!r}; wanted 0 < safety <= 1, 0 < factor_min < 1 < factor_max, "
                    "0 <= dt_min < dt_max, dt0 > 0"
                )
        for name in ("pcoeff", "icoeff", "dcoeff"):
            if not is_number(getattr(self, name), 0.0):
                raise OptionError(f"{name}={getattr(self, name)!r}; wanted a finite number >= 0")
        if self.pcoeff + self.icoeff + self.dcoeff <= 0:
            raise OptionError(
                "pcoeff, icoeff and dcoeff are all 0; wanted one above 0: the step size would never change"
            )

    def init(
        self, field: BoundField, solver: Solver, span: Span, y0: Tree, slope: Callable[[], Tree], layout: Layout
    ) -> Any:
        for leaf in leaves(y0):
            for name, tolerance in (("rtol", self.rtol), ("atol", self.atol)):
                if isinstance(tolerance, Tensor) and not _broadcasts(tolerance, leaf):
                    raise OptionError(
                        f"{name} has shape {tuple(tolerance.shape)}; wanted one that broadcasts to the state's, "
                        f"{tuple(leaf.shape)}"
                    )
        length = absolute(span.end - span.start)
        if self.dt0 is not None:
            dt = layout.constant(self.dt0)
        elif solver.driven:
            dt = 1e-3 * length
        else:
            dt = self._first_step(field, span, length, y0, slope(), layout, solver.order)
        # a first slope that is not finite must not hide behind a step size that is not either
        dt = where(is_finite(dt) & (dt > 0), dt, 1e-3 * length)
        dt = minimum(maximum(dt, layout.constant(self.dt_min)), layout.constant(self.dt_max))
        first = PIDState(minimum(dt, length), layout.constant(1.0), layout.constant(1.0), layout.flag(False))
        revisit = self.revisit_rejected
        if revisit is None:
            revisit = isinstance(field.source, VectorField) and field.source.revisits_rejected
        if not (revisit or solver.driven):
            return first
        if self.dt0 is None:
            first = first._replace(dt=_rounded(first.dt))
        return RevisitingState(*first, *nothing_ahead(layout)) if revisit else DrivenState(*first)

    def normalised(self, longest: float) -> PID:
        return replace(self, dt0=None, dt_min=0.0, dt_max=math.inf, jump_ts=None)

    def target(self, control: PIDState, t: Scalar, span: Span) -> Scalar:
        if len(control) == _MEMORY:
            return t + span.direction * control.dt
        return nearest(control[_MEMORY:], t, control.dt, span.direction)

    def error(self, error: Tree | None, y0: Tree, y1: Tree, layout: Layout) -> Scalar:
        return layout.measure(tree_map(self._ratio, error, y0, y1), self.norm)

    def _ratio(self, error: Tensor, y0: Tensor, y1: Tensor) -> Tensor:
        size = torch.maximum(y0.abs(), y1.abs())
        # an overflowed state would make its own error look small: 0 * inf is NaN, which rejects
        return torch.add(error / size.mul(self.rtol).add(self.atol), size, alpha=0.0)

    def decide(self, control: PIDState, t0: Scalar, t1: Scalar, cut: Flag, error: Scalar, order: int) -> Verdict:
        finite = is_finite(error)
        accept = finite & (error <= 1.0)
        size = maximum(where(finite, error, 1.0), 1e-10)
        factor = self.safety * power(size, -(self.pcoeff + self.icoeff + self.dcoeff) / order)
        if self.pcoeff or self.dcoeff:
            factor = factor * power(control.error1, (self.pcoeff + 2 * self.dcoeff) / order)
            factor = factor * power(control.error2, -self.dcoeff / order)
        highest = where(accept & negate(control.rejected), self.factor_max, where(accept, 1.0, self.safety))
        factor = where(finite, minimum(maximum(factor, self.factor_min), highest), self.factor_min)
        tried = absolute(t1 - t0)
        ahead, full = control[_MEMORY:], None
        if ahead:
            ahead, there, full = kept(ahead, t0, t1, accept)
            cut = cut | (there & (control.dt > tried))
            factor = where(accept, factor, 0.5)
        dt = tried * factor
        dt = where(accept & cut, maximum(dt, control.dt), dt)  # a step cut short says nothing against the next one
        if type(control) is not PIDState:
            dt = where(accept, _rounded(dt), dt) if ahead else _rounded(dt)  # half of a step ends at its middle
        exhausted = negate(accept) & (tried <= self.dt_min)
        if full is not None:
            exhausted = exhausted | full
        dt = minimum(maximum(dt, self.dt_min), self.dt_max)
        return Verdict(
            accept,
            type(control)(
                dt,
                where(accept, size, control.error1),
                where(accept, control.error1, control.error2),
                negate(accept),
                *ahead,
            ),
            exhausted,
        )

    def _first_step(
        self, field: BoundField, span: Span, length: Scalar, y0: Tree, slope: Tree, layout: Layout, order: int
    ) -> Scalar:
        """Hairer's choice (II.4): a small Euler step tells how fast the slope changes."""
        y0, slope = tree_map(Tensor.detach, y0), tree_map(Tensor.detach, slope)

        def size(tree: Tree) -> Scalar:
            return layout.measure(tree_map(lambda x, y: x / y.abs().mul(self.rtol).add(self.atol), tree, y0), self.norm)

        d0, d1 = size(y0), size(slope)
        tiny = (d0 < 1e-5) | (d1 < 1e-5)
        h0 = minimum(where(tiny, 1e-6, 0.01 * d0 / maximum(d1, 1e-10)), length)
        dt = layout.rows(span.direction * h0)
        time = layout.rows(span.start) + dt
        y1 = _euler(y0, slope, dt)
        change = tree_map(lambda a, b: a - b, tree_map(Tensor.detach, field(time, y1)), slope)
        d2 = size(change) / maximum(h0, 1e-300)
        fastest = maximum(d1, d2)
        flat = fastest <= 1e-15
        h1 = where(flat, maximum(1e-6 + 0.0 * h0, 1e-3 * h0), power(0.01 / where(flat, 1.0, fastest), 1.0 / order))
        return minimum(100.0 * h0, h1)


def _rounded(dt: Scalar) -> Scalar:
    """A step size to seven binary digits.

    A Brownian path moves by the root of the time: the last digit of a step's end, which another order of sums or
    another device has otherwise, would be in the first digits of the solution some ten steps later.
    """
    split = _ROUND * dt  # Veltkamp's
    return split - (split - dt)


def _euler(y: Tree, slope: Tree, dt: Tensor) -> Tree:
    """`y + dt * slope`, rows lined up."""
    return tree_map(lambda a, k: a + align(dt, a).to(real_dtype(a)) * k, y, slope)


def _broadcasts(small: Tensor, large: Tensor) -> bool:
    sizes = zip(reversed(small.shape), reversed(large.shape), strict=False)
    return small.dim() <= large.dim() and all(a in (1, b) for a, b in sizes)
