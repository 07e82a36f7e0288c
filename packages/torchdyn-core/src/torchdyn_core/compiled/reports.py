"""Reports, read off the stored steps of a chunk all at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.compiled.buffers import Buffers
from torchdyn_core.compiled.engine import Engine
from torchdyn_core.compiled.places import put
from torchdyn_core.loop.problem import Problem, Rows
from torchdyn_core.loop.transition import reported
from torchdyn_core.tree import Tree, unflatten
from torchdyn_core.tree import flatten as flat

__all__ = ["Reading", "Reports"]


class Reading(NamedTuple):
    """Which reports fall into a chunk, and where.

    Arguments:
        report: Positions in `ts`, `(M,)`.
        step: The step that each falls into.
        row: The row of the state that each belongs to, or None where steps are shared.
        sample: The sample, likewise.
    """

    report: Tensor
    step: Tensor
    row: Tensor | None
    sample: Tensor | None


class Reports:
    """Walks along the report times, chunk by chunk. The first and the last report are states that need no reading.

    Arguments:
        problem: What is solved.
        engine: Knows the structure of dense output.
    """

    def __init__(self, problem: Problem, engine: Engine) -> None:
        self._problem, self._engine, layout = problem, engine, problem.layout
        self._count = problem.ts.shape[0] - 2
        ts = problem.ts.detach()[1:-1]
        self.rows: list[Rows] = []
        if layout.shared:
            self.reached: Any = 1
            self._directed = problem.span.direction * ts
        else:
            self._sample = layout.sample_of_row()
            self._start = (problem.span.direction * problem.span.start)[self._sample]
            self._direction = problem.span.direction[self._sample]
            self._directed = (problem.span.direction * ts)[:, self._sample].T.contiguous()
            at_start = self._directed <= self._start[:, None]
            self._at_start = at_start if bool(at_start.any()) else None
            self.reached = torch.ones_like(self._sample)

    def __bool__(self) -> bool:
        return self._count > 0

    def read(self, buffers: Buffers) -> Reading | None:
        """The reports in a chunk; moves on behind them."""
        times = buffers.times
        if self._problem.layout.shared:
            ends = self._problem.span.direction * times[:, 1]
            last = 1 + int(torch.searchsorted(self._directed, ends[-1:], right=True))
            first, self.reached = self.reached, last
            if last == first:
                return None
            self.rows.append(Rows(first, last))
            report = torch.arange(first, last, device=times.device)
            return Reading(report, torch.searchsorted(ends, self._directed[first - 1 : last - 1]), None, None)
        ends = (self._direction * times[:, 1][:, self._sample]).T.contiguous()
        after = 1 + torch.searchsorted(self._directed, ends[:, -1:].contiguous(), right=True)[:, 0]
        # a sample that has not moved yet has reached nothing: reports at its start belong to its first step
        after = torch.where(ends[:, -1] > self._start, after, self.reached).maximum(self.reached)
        place = torch.arange(1, self._count + 1, device=times.device)[None]
        row, report = torch.nonzero((place >= self.reached[:, None]) & (place < after[:, None]), as_tuple=True)
        self.reached = after
        if not len(row):
            return None
        report = report + 1
        step = torch.searchsorted(ends, self._directed)
        if self._at_start is not None:
            step = torch.where(self._at_start, torch.searchsorted(ends, self._directed, right=True), step)
        step = step[row, report - 1]
        order = torch.argsort(step, stable=True)  # as the steps come
        report, step, row = report[order], step[order], row[order]
        self.rows.append(Rows(0, 0, report, row, self._sample[row]))
        return Reading(report, step, row, self._sample[row])

    def gathered(
        self, reading: Reading, buffers: Buffers, end: list[Tensor]
    ) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
        """For each report: its step's times and states at either end."""
        step, row, sample = reading.step, reading.row, reading.sample
        times = buffers.times[step] if sample is None else buffers.times[step, :, sample]
        place = (step,) if row is None else (step, row)
        following = (step + 1,) if row is None else (step + 1, row)
        y0 = [part[place] for part in buffers.y]
        y1 = [torch.cat([part, last.unsqueeze(0)])[following] for part, last in zip(buffers.y, end, strict=True)]
        return times[:, 0], times[:, 1], y0, y1

    def values(self, reading: Reading, buffers: Buffers, end: list[Tensor]) -> Tree:
        """The reported states."""
        place = (reading.step,) if reading.row is None else (reading.step, reading.row)
        dense = [part[place] for part in buffers.dense]
        return self.interpolated(self.times(reading), *self.gathered(reading, buffers, end), dense)

    def times(self, reading: Reading) -> Tensor:
        """Their times."""
        ts = self._problem.ts.detach()
        return ts[reading.report] if reading.sample is None else ts[reading.report, reading.sample]

    def interpolated(
        self, times: Tensor, t0: Tensor, t1: Tensor, y0: list[Tensor], y1: list[Tensor], dense: list[Tensor]
    ) -> Tree:
        """Reported states from flat parts."""
        spec = flat(self._problem.y0)[1]
        trees = unflatten(y0, spec), unflatten(y1, spec), put(dense, self._engine.dense_place)
        return reported(self._problem, times, t0, t1, *trees)
