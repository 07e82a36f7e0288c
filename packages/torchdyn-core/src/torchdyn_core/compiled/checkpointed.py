"""Checkpointed, compiled: autograd's view of a compiled solve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from torchdyn_core.adjoint.base import Inputs, autocast_state, find, gather_inputs, refuse_forward_mode
from torchdyn_core.compiled.engine import leaf_of, pick, put
from torchdyn_core.compiled.gradient import Backward, Wanted
from torchdyn_core.compiled.reports import Reading
from torchdyn_core.compiled.run import Chunk, Run, Session, capacity, run, trajectory
from torchdyn_core.errors import GradientError
from torchdyn_core.loop.problem import Outputs, Trajectory
from torchdyn_core.loop.transition import ends_shifted, saved
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten

__all__ = ["solved"]


def solved(session: Session) -> Trajectory:
    """Run a compiled solve, and tell autograd how to differentiate it."""
    problem, engine = session.problem, session.engine
    environment = session.environment
    places = [i for i in engine.differentiable if environment[i].requires_grad]
    resume = problem.resume
    own = [problem.ts, *leaves(problem.y0), *leaves(None if resume is None else resume.carry)]
    outer = [*own, *(environment[i] for i in places)]
    if torch.is_grad_enabled() and any(t.requires_grad for t in outer):
        replay = _Replay(session, places)
        flat = _Compiled.apply(replay, *outer)  # type: ignore[no-untyped-call]
        result, spec = replay.result, replay.spec
        replay.forget()
    else:
        result = run(session, states=False)
        parts, spec = flatten(_outputs(session, result))
        flat = tuple(parts)
    outputs: Outputs = unflatten(flat, spec)
    interior = outputs.interior
    if problem.save is not None and interior is not None and problem.layout.shared:
        interior = saved(problem, problem.ts[1 : result.reports.reached], interior)
    return trajectory(session, result, outputs._replace(interior=interior))


def _outputs(session: Session, result: Run) -> Outputs:
    """The differentiable results of a run; reports as states, whatever `save` will make of them."""
    problem, engine = session.problem, session.engine
    cursor = put(result.cursor, engine.place)
    spec = flatten(problem.y0)[1]
    interior: Tree = None
    if result.interior:
        interior = tree_map(lambda *parts: torch.cat(parts), result.interior[0], *result.interior[1:])
    steps = dense = None
    if result.chunks and (problem.dense or problem.record_steps):
        steps = unflatten(
            [torch.cat([part, last]) for part, last in zip(_behind(result.chunks), cursor_end(result, engine), strict=True)],
            spec,
        )
    if result.chunks and problem.dense:
        dense = put([torch.cat(parts) for parts in zip(*(c.dense for c in result.chunks), strict=True)], engine.dense_place)
    return Outputs(cursor.y, cursor.state.carry, interior, put(result.integral, engine.integral_place), steps, dense)


def _behind(chunks: list[Chunk]) -> list[Tensor]:
    """First states of all steps but the first one: the states behind the others."""
    return [torch.cat(parts)[1:] for parts in zip(*(chunk.buffers.y for chunk in chunks), strict=True)]


def cursor_end(result: Run, engine: Any) -> list[Tensor]:
    """The last state, as one row."""
    return [leaf.unsqueeze(0) for leaf in pick(result.cursor, engine.place.y)]


class _Replay:
    """One compiled solve between its forward and its backward passes."""

    def __init__(self, session: Session, places: list[int]) -> None:
        self.session, self.places = session, places
        self.context = autocast_state(session.problem.layout.device)
        self.result: Any = None
        self.spec: Any = None
        constant = [t for i, t in enumerate(session.environment) if i not in places and not t.is_inference()]
        self._constants = [(t, t._version) for t in constant]

    def forward(self) -> tuple[Tensor, ...]:
        """Run the loop; the flat differentiable outputs."""
        self.result = run(self.session, states=True)
        flat, self.spec = flatten(_outputs(self.session, self.result))
        self.chunks, self.stats = self.result.chunks, self.result.stats
        return tuple(flat)

    def forget(self) -> None:
        """Let go of the outputs, which lead back here."""
        self.reports, self.result = self.result.reports, None

    def backward(self, cotangents: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients of times, first state and carry, and of what the field reads."""
        if any(t._version != version for t, version in self._constants):
            raise GradientError(
                "the field has changed since it was solved: a buffer or a closed-over tensor was written to. Its gradient "
                "would be that of another field; wanted backward() before such changes"
            )
        session, problem, engine = self.session, self.session.problem, self.session.engine
        total: Outputs = unflatten(list(cotangents), self.spec)
        y_bar, carry_bar, interior, integral, steps, dense = (_flat(part) for part in total)
        environment = [t.detach() for t in session.environment]
        sums = [torch.zeros_like(environment[i]) for i in self.places]
        y_bar = _filled(y_bar, self.chunks[-1].end if self.chunks else leaves(problem.y0))
        carry_bar = _filled(carry_bar, self.chunks[-1].buffers.carry if self.chunks else [], row=True)
        times = _TimeGradients(session) if problem.ts.requires_grad else None
        reached = [False] * len(self.places)
        row = sum(chunk.rows for chunk in self.chunks)
        report = sum(len(c.reading.report) for c in self.chunks if c.reading is not None)
        for chunk in reversed(self.chunks):
            row -= chunk.rows
            nodes = _Nodes(chunk, engine)
            if chunk.reading is not None and any(c is not None for c in interior):
                report -= len(chunk.reading.report)
                span = slice(report, report + len(chunk.reading.report))
                nodes.add_reports(self.reports, chunk, [None if c is None else c[span] for c in interior], times)
            nodes.add_steps([None if c is None else c[row : row + chunk.rows] for c in steps])
            nodes.add_dense([None if c is None else c[row : row + chunk.rows] for c in dense])
            y_bar = nodes.at_the_end(y_bar)
            y_bar, carry_bar = self._chunk(chunk, nodes, y_bar, carry_bar, integral, sums, times, environment, reached)
        fresh = problem.resume is None or problem.resume.control is None
        if fresh and carry_bar:
            y_bar = self._through_first_carry(y_bar, carry_bar, sums, reached, environment)
        head = [None if times is None else times.total, *y_bar, *([] if fresh else carry_bar)]
        return [*head, *(g if used else None for g, used in zip(sums, reached, strict=True))]

    def _chunk(
        self, chunk: Chunk, nodes: _Nodes, y_bar: list[Tensor], carry_bar: list[Tensor], integral: list[Tensor | None],
        sums: list[Tensor], times: _TimeGradients | None, environment: list[Tensor], reached: list[bool],
    ) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
        """Undo the steps of one chunk."""
        session, engine, stats = self.session, self.session.engine, self.stats
        has_integral = any(c is not None for c in integral)
        wanted = Wanted(tuple(self.places), times is not None, bool(nodes.y), bool(nodes.dense), has_integral)
        rows = capacity(session.problem)
        with self.context():
            loop = engine.backward(wanted, rows)
        integral_bar = _filled(integral, engine.integral_of(engine.values(session.flat, rows))) if has_integral else []
        time_bars = [torch.zeros_like(chunk.buffers.times)] if times is not None else []
        left = [torch.tensor(chunk.rows)]
        buffers = chunk.buffers
        y_bar, carry_bar = loop(
            left, y_bar, carry_bar, sums, time_bars, [buffers.times], buffers.y, buffers.carry, nodes.y, nodes.dense,
            integral_bar, session.inputs, environment,
        )  # fmt: skip
        session.entries += 1
        stats.replayed += chunk.rows
        stats.backward_evaluations += chunk.rows * engine.costs.replay
        for place, used in enumerate(loop.reached):
            reached[place] = reached[place] or used
        if times is not None:
            times.add(chunk, time_bars[0])
        return y_bar, carry_bar
