"""Cotangents that enter between the steps: of reports, recorded steps, dense output, and of times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchdyn_core.compiled.packing import in_rows
from torchdyn_core.compiled.places import leaf_of
from torchdyn_core.compiled.reports import Reports
from torchdyn_core.compiled.run import Chunk, Session, records
from torchdyn_core.loop.problem import Record
from torchdyn_core.loop.transition import ends_shifted
from torchdyn_core.tree import leaves

__all__ = ["Nodes", "TimeGradients", "filled"]

Maybe = Sequence[Tensor | None]


class TimeGradients:
    """Collects what flows to `ts`: reports have times of their own, steps move with the first, the last one ends there.

    Arguments:
        session: The solve.
        chunks: Its steps.
    """

    def __init__(self, session: Session, chunks: list[Chunk]) -> None:
        self._problem = session.problem
        self.total = torch.zeros_like(session.problem.ts)
        self._records = records(session, chunks)

    def add_reports(self, report: Tensor, sample: Tensor | None, cotangent: Tensor) -> None:
        """Gradients of report times themselves."""
        place = (report,) if sample is None else (report, sample)
        self.total.index_put_(place, cotangent, accumulate=True)

    def add_steps(self, first: int, bars: Tensor) -> None:
        """Gradients of the times of steps, `(N, 2)` or `(N, 2, B)`, from step `first` on."""
        for offset, (start, end) in enumerate(bars.unbind(0)):
            record: Record = self._records[first + offset]
            final = record.final * 1.0
            moves = ends_shifted(self._problem, record) * (1.0 - final)
            self.total[0] += record.shifted * start + moves * end
            self.total[-1] += final * end


class Nodes:
    """Cotangents of the states at which the steps of a chunk begin, of the one where the last ends, of dense output.

    Arguments:
        chunk: The steps.
    """

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._states: list[Tensor] | None = None
        self._dense: list[Tensor] | None = None
        self.times: Tensor | None = None

    def add_reports(self, reports: Reports, interior: Maybe, times: TimeGradients | None) -> None:
        """Pull cotangents of reported states back to the steps that they were read off."""
        chunk, reading = self._chunk, self._chunk.reading
        assert reading is not None
        step, row = reading.step, reading.row
        t0, t1, y0, y1 = reports.gathered(reading, chunk.used, chunk.end)
        place = (step,) if row is None else (step, row)
        following = (step + 1,) if row is None else (step + 1, row)
        dense = [part[place] for part in chunk.dense] if chunk.dense else self._no_dense(len(step), row is not None)
        with torch.enable_grad():
            at = [leaf_of(t) for t in (reports.times(reading), t0, t1)]
            ends, stages = [[leaf_of(leaf) for leaf in part] for part in (y0, y1)], [leaf_of(leaf) for leaf in dense]
            values = leaves(reports.interpolated(at[0], at[1], at[2], ends[0], ends[1], stages))
            pairs = [(v, c) for v, c in zip(values, interior, strict=True) if c is not None]
            targets = [*ends[0], *ends[1], *stages, *(at if times is not None else ())]
            found = torch.autograd.grad(
                [v for v, _ in pairs], targets, [c for _, c in pairs], allow_unused=True, materialize_grads=True
            )
        count = len(y0)
        for node, first, last in zip(self._node_states(), found[:count], found[count : 2 * count], strict=True):
            node.index_put_(place, first, accumulate=True)
            node.index_put_(following, last, accumulate=True)
        for node, grad in zip(self._node_dense(), found[2 * count :], strict=False):
            node.index_put_(place, grad, accumulate=True)
        if times is not None:
            times.add_reports(reading.report, reading.sample, found[-3])
            self.times = torch.zeros_like(chunk.used.times)
            for side, grad in enumerate(found[-2:]):
                self.times[:, side].index_put_(
                    (step,) if row is None else (step, reading.sample), grad, accumulate=True
                )

    def add_steps(self, steps: Maybe) -> None:
        """Cotangents of the states behind each step."""
        for index, cotangent in enumerate(steps):
            if cotangent is not None:
                self._node_states()[index][1:] += cotangent

    def add_dense(self, dense: Maybe) -> None:
        """Cotangents of each step's dense output."""
        if any(cotangent is not None for cotangent in dense):
            for node, cotangent in zip(self._node_dense(), dense, strict=True):
                if cotangent is not None:
                    node += cotangent

    def at_the_end(self, y_bar: list[Tensor]) -> list[Tensor]:
        """Cotangents of the chunk's last state, those from within it included."""
        if self._states is None:
            return y_bar
        return [bar + node[-1] for bar, node in zip(y_bar, self._states, strict=True)]

    @property
    def y(self) -> list[Tensor]:
        """Buffers like those of the first states; empty where nothing was added."""
        return [] if self._states is None else self._buffers([node[:-1] for node in self._states])

    @property
    def dense(self) -> list[Tensor]:
        """Buffers like those of dense output; empty where nothing was added."""
        return [] if self._dense is None else self._buffers(self._dense)

    def _node_states(self) -> list[Tensor]:
        if self._states is None:
            rows = self._chunk.rows + 1
            self._states = [
                torch.zeros((rows, *leaf.shape), dtype=leaf.dtype, device=leaf.device) for leaf in self._chunk.end
            ]
        return self._states

    def _node_dense(self) -> list[Tensor]:
        """One row a step."""
        if self._dense is None:
            self._dense = self._zeros(self._chunk.rows, [leaf.shape for leaf in self._chunk.dense_like])
        return self._dense

    def _no_dense(self, count: int, rowwise: bool) -> list[Tensor]:
        """Zeros for dense output: what an interpolation that is linear in it is differentiated at."""
        return self._zeros(count, [leaf.shape[rowwise:] for leaf in self._chunk.dense_like])

    def _zeros(self, count: int, shapes: list[torch.Size]) -> list[Tensor]:
        like = zip(shapes, self._chunk.dense_like, strict=True)
        device = self._chunk.used.times.device
        return [torch.zeros((count, *shape), dtype=leaf.dtype, device=device) for shape, leaf in like]

    def _buffers(self, nodes: list[Tensor]) -> list[Tensor]:
        """Nodes with room behind them, as long as the chunk's own buffers."""
        rows = self._chunk.buffers.times.shape[0]
        made = []
        for node in nodes:
            buffer = torch.empty((rows, *node.shape[1:]), dtype=node.dtype, device=node.device)
            buffer[: len(node)] = node
            made.append(buffer)
        return made


def filled(cotangents: Maybe, like: Sequence[Tensor]) -> list[Tensor]:
    """Cotangents with zeros in place of those that are None."""
    return [torch.zeros_like(t) if c is None else in_rows(c) for c, t in zip(cotangents, like, strict=True)]
