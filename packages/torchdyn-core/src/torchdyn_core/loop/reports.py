"""Which report times a step crosses, and how reports become the rows of a solution."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdyn_core.binding import field_time
from torchdyn_core.loop.problem import Problem, Record, Rows
from torchdyn_core.tree import Tree, tree_map

__all__ = ["ReportSchedule", "assemble"]


class ReportSchedule:
    """Walks along the report times as steps are accepted.

    The first row is `y0` and the last one is the last state, so neither is interpolated.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._layout = problem, problem.layout
        ts, direction = problem.ts.detach(), problem.span.direction
        self._count = ts.shape[0]
        if self._layout.shared:
            self.reached: Any = 1
            self._directed = [direction * t for t in self._layout.numbers(ts)[:-1]] if self._count > 2 else []
        else:
            self._sample = self._layout.sample_of_row()
            self._table = (direction * ts)[:, self._sample].T.contiguous()
            self._row_direction = direction[self._sample]
            self.reached = torch.ones_like(self._sample)

    def crossed(self, record: Record) -> Rows | None:
        """The reports that fall into an accepted step; moves on behind them."""
        if self._layout.shared:
            if self.reached >= self._count - 1:
                return None
            first = self.reached
            self.reached = _behind(self._directed, self._problem.span.direction * record.t1, first)
            return Rows(first, self.reached) if self.reached > first else None
        if self._count == 2:
            return None
        t1 = self._layout.rows(record.t1)
        accepted = self._layout.rows(record.accepted)
        last = torch.searchsorted(self._table, (self._row_direction * t1)[:, None], right=True)[:, 0]
        last = torch.where(accepted, last.clamp(max=self._count - 1), self.reached).maximum(self.reached)
        counts = last - self.reached
        total = int(counts.sum())
        if not total:
            return None
        rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
        offset = torch.arange(total, device=counts.device) - (counts.cumsum(0) - counts)[rows]
        report = self.reached[rows] + offset
        self.reached = last
        return Rows(0, 0, report, rows, self._sample[rows])


def assemble(problem: Problem, interior: Tree, rows: list[Rows], y: Tree, reached: Any) -> Tree:
    """The rows of the solution: the first state, the interior reports, and the last state in every row behind.

    Arguments:
        problem: What was solved.
        interior: Reports of all steps, stacked in the order of `rows`.
        rows: Which reports they are.
        y: The last state.
        reached: As in `Trajectory`.
    """
    count = problem.ts.shape[0]
    head, tail = problem.y0, y
    if problem.layout.shared:
        save = problem.save
        if save is not None:
            head, tail = _saved(problem, 0, head), _saved(problem, -1, tail)

        def stack(first: Tensor, last: Tensor, *between: Tensor) -> Tensor:
            missing = count - 1 - sum(len(b) for b in between)
            return torch.cat([first.unsqueeze(0), *between, last.unsqueeze(0).expand(missing, *last.shape)])

        return tree_map(stack, head, tail, *([interior] if interior is not None else []))

    def place(first: Tensor, last: Tensor, *between: Tensor) -> Tensor:
        out = last.unsqueeze(0).expand(count - 1, *last.shape)
        if between:
            report = torch.cat([r.report for r in rows if r.report is not None])
            row = torch.cat([r.row for r in rows if r.row is not None])
            out = out.index_put((report - 1, row), between[0])
        return torch.cat([first.unsqueeze(0), out])

    states = tree_map(place, head, tail, *([interior] if interior is not None else []))
    if problem.save is None:
        return states
    saved = [_saved(problem, index, tree_map(lambda leaf, i=index: leaf[i], states)) for index in range(count)]
    return tree_map(lambda *parts: torch.stack(parts), saved[0], *saved[1:])


def _saved(problem: Problem, index: int, y: Tree) -> Tree:
    assert problem.save is not None
    t = problem.ts[index]
    if not problem.layout.shared:
        t = t[problem.layout.sample_of_row()]
    return problem.save(field_time(t, y), y)


def _behind(directed: list[float], t: float, first: int) -> int:
    """The place behind the last time that is not after `t`: `bisect_right`, which compilers cannot trace."""
    low, high = first, len(directed)
    while low < high:
        middle = (low + high) // 2
        if t < directed[middle]:
            high = middle
        else:
            low = middle + 1
    return low
