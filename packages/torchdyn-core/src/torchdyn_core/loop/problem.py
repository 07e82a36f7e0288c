"""What one solve is, as records: the loop runs a `Problem`, an adjoint replays it."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.binding import BoundField
from torchdyn_core.controller import Span, StepController
from torchdyn_core.layout import Layout
from torchdyn_core.scalars import Flag, Scalar, minimum
from torchdyn_core.solution import Final, Stats
from torchdyn_core.solver import Solver
from torchdyn_core.tree import Spec, Tree, flatten, unflatten

__all__ = ["Jumps", "Outputs", "Packing", "Problem", "Record", "Rows", "Trajectory"]


class Jumps:
    """Times at which steps end because the field jumps, for a span.

    Arguments:
        times: `(K,)` or `(K, B)`, in any order; those outside the span are left out.
        span: Start, end and direction.
        layout: Whether samples have jumps of their own.
        beyond: Keep those outside of a shared span too: a solve in parts then has one table for all of them.
    """

    def __init__(self, times: Tensor | None, span: Span, layout: Layout, *, beyond: bool = False) -> None:
        self._span = span
        self.times = times
        self._list: list[float] = []
        self._table: Tensor | None = None
        if times is None or times.numel() == 0:
            return
        if layout.shared:
            low, high = (-math.inf, math.inf) if beyond else sorted((span.start, span.end))
            self._list = sorted({span.direction * x for x in times.flatten().tolist() if low <= x <= high})
        else:
            times = times.to(layout.device, layout.dtype)
            times = times if times.dim() == 2 else times[:, None].expand(-1, span.start.shape[0])
            directed = span.direction * times
            outside = (directed < span.direction * span.start) | (directed > span.direction * span.end)
            directed = torch.where(outside, torch.inf, directed).sort(0).values.T
            self._table = torch.cat([directed, torch.full_like(directed[:, :1], math.inf)], 1).contiguous()

    def __bool__(self) -> bool:
        return bool(self._list) or self._table is not None

    def table(self, layout: Layout) -> Tensor | None:
        """Directed times in order, with infinity behind them: `(1, K)`, or `(B, K)` per sample; None where none are."""
        if self._list:
            return torch.tensor([[*self._list, math.inf]], dtype=layout.dtype, device=layout.device)
        return None if self._table is None else self._table.clone()

    def following(self, t: Scalar) -> Scalar:
        """The next time at which a step has to end: a jump, or the end."""
        end, direction = self._span.end, self._span.direction
        if self._table is not None:
            place = torch.searchsorted(self._table, (direction * t)[:, None], right=True)
            jump = self._table.gather(1, place.clamp(max=self._table.shape[1] - 1))[:, 0]
            return direction * minimum(jump, direction * end)
        if not self._list:
            return end
        index = bisect.bisect_right(self._list, direction * t)
        return direction * min(self._list[index], direction * end) if index < len(self._list) else end

    def holds(self, t: Scalar) -> Flag:
        """Whether the field jumps at this time."""
        if self._table is not None:
            return (self._table == (self._span.direction * t)[:, None]).any(1)
        if not self._list:
            return torch.zeros_like(t, dtype=torch.bool) if isinstance(t, Tensor) else False
        index = bisect.bisect_left(self._list, self._span.direction * t)
        return index < len(self._list) and self._list[index] == self._span.direction * t


@dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a run of the loop depends on.

    Arguments:
        field: The bound field.
        solver: The method.
        controller: Step-size control.
        layout: Shared steps, steps per sample, or segments.
        y0: The state to start from.
        ts: Report times in float64, `(T,)` or, with steps per sample, `(T, B)`; may require grad.
        span: First and last time as scalars.
        jumps: Where steps have to end.
        resume: The final state of an earlier solve, or None.
        save: Function of time and state to report in place of the state.
        integral_loss: Function of time and state to integrate.
        dense: Whether to keep dense output.
        record_steps: Whether to keep all accepted steps.
        max_steps: Most steps to try.
        progress: Whether to show a progress bar.
    """

    field: BoundField
    solver: Solver
    controller: StepController
    layout: Layout
    y0: Tree
    ts: Tensor
    span: Span
    jumps: Jumps
    resume: Final | None = None
    save: Callable[[Tensor, Tree], Tree] | None = None
    integral_loss: Callable[[Tensor, Tree], Tree] | None = None
    dense: bool = False
    record_steps: bool = False
    max_steps: int = 4096
    progress: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """Reports that fall into a step: with shared steps rows `first` to `last` of `ts`; else pairs of report and row.

    `sample` is the sample of each state row.
    """

    first: int
    last: int
    report: Tensor | None = None
    row: Tensor | None = None
    sample: Tensor | None = None

    def __len__(self) -> int:
        return self.last - self.first if self.report is None else len(self.report)


class Record(NamedTuple):
    """One accepted step: what it takes, beside its first state and carry, to do it again.

    Arguments:
        t0, t1: Where it began and ended (equal for samples that did not accept it).
        accepted: Which samples accepted it.
        shifted: Whether `t0` moves along with `ts[0]`: no jump lies between.
        jump0, jump1: Whether the field jumps at `t0`, at `t1`.
        final: Whether `t1` is `ts[-1]`.
        rows: Reports that fall into it.
    """

    t0: Scalar
    t1: Scalar
    accepted: Flag
    shifted: Flag
    jump0: Flag
    jump1: Flag
    final: Flag
    rows: Rows | None = None


class Outputs(NamedTuple):
    """The differentiable results of a run, as one tree.

    Arguments:
        y: The last state.
        carry: The solver's last carry.
        interior: Reports between the first and the last, in the order of the records.
        integral: Integral of the running loss.
        steps: The states at the ends of the recorded steps, stacked.
        dense: What `Solver.interpolate` takes, for each recorded step, stacked.
    """

    y: Tree
    carry: Tree
    interior: Tree
    integral: Tree
    steps: Tree
    dense: Tree

    def packed(self) -> tuple[list[Any], Packing]:
        """All leaves, None among them, and what puts them together again.

        Part by part, as most are a lone tensor or None: a tree of trees takes as long as a small step, and leaves a
        cycle behind for Python to collect.
        """
        parts = [([None], None) if part is None else flatten(part) for part in self]
        return [leaf for leaves, _ in parts for leaf in leaves], [(len(leaves), spec) for leaves, spec in parts]

    @classmethod
    def unpacked(cls, leaves: Sequence[Any], packing: Packing) -> Outputs:
        """Inverse of `packed`; takes any leaves, None among them."""
        rest = iter(leaves)
        return cls(*(unflatten(list(itertools.islice(rest, count)), spec) for count, spec in packing))


Packing = list[tuple[int, Spec]]
"""How many leaves each part of `Outputs` has, and its structure."""


@dataclass
class Trajectory:
    """What a run returns.

    Arguments:
        outputs: The differentiable part.
        t: The time reached.
        control: The controller's last state.
        reached: How many rows of `ts` were reached, an int or `(R,)`, the last row not counted.
        rows: Reports of each step that had any, in the order of `outputs.interior`.
        records: Accepted steps, where they are kept.
        status: A `Status`, or `(B,)`.
        stats: What it cost.
    """

    outputs: Outputs
    t: Scalar
    control: Any
    reached: Any
    rows: list[Rows]
    records: list[Record]
    status: Any
    stats: Stats = field(default_factory=Stats)
