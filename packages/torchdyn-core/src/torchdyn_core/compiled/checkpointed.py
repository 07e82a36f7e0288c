"""Checkpointed, compiled: autograd's view of a compiled solve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.adjoint.base import autocast_state, refuse_forward_mode
from torchdyn_core.adjoint.checkpointed import Replayed
from torchdyn_core.compiled.backward import Backward, Wanted
from torchdyn_core.compiled.cotangents import Nodes, TimeGradients, filled
from torchdyn_core.compiled.places import leaf_of, pick, put
from torchdyn_core.compiled.reason import distrust, explained
from torchdyn_core.compiled.run import Chunk, Run, Session, run, trajectory
from torchdyn_core.compiled.second import differentiable
from torchdyn_core.compiled.tape import Bounded, Kept, chunks_for
from torchdyn_core.compiled.trust import Differs, Miscompiled
from torchdyn_core.errors import GradientError, IncompatibleError, warn_once
from torchdyn_core.loop.problem import Outputs, Packing, Trajectory
from torchdyn_core.loop.transition import saved
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten

__all__ = ["solved"]


def solved(session: Session, memory: int | None = None) -> Trajectory:
    """Run a compiled solve, and tell autograd how to differentiate it.

    Arguments:
        session: The solve.
        memory: Most states to keep; None keeps one for each step.
    """
    problem, engine = session.problem, session.engine
    environment = session.environment
    places = [i for i in engine.differentiable if environment[i].requires_grad]
    resume = problem.resume
    own = [problem.ts, *leaves(problem.y0), *leaves(None if resume is None else resume.carry)]
    outer = [*own, *(environment[i] for i in places)]
    refuse_forward_mode([*own, *environment], "checkpointed")
    outputs: Outputs
    if torch.is_grad_enabled() and any(t.requires_grad for t in outer):
        replay = _Replay(session, places, chunks_for(session, memory))
        flat = Replayed.apply(replay, *outer)  # type: ignore[no-untyped-call]
        result, outputs = replay.finish(), Outputs.unpacked(flat, replay.packing)
    else:
        result = run(session)
        outputs = _outputs(session, result)
    interior = outputs.interior
    if problem.save is not None and interior is not None and problem.layout.shared:
        interior = saved(problem, problem.ts[1 : result.reports.reached], interior)
    return trajectory(session, result, outputs._replace(interior=interior))


def _outputs(session: Session, result: Run) -> Outputs:
    """The differentiable results of a run; reports as states, whatever `save` will make of them."""
    problem, engine = session.problem, session.engine
    place = engine.place
    spec = flatten(problem.y0)[1]
    interior: Tree = None
    if result.interior:
        interior = tree_map(lambda *parts: torch.cat(parts), result.interior[0], *result.interior[1:])
    steps = dense = None
    if result.chunks and (problem.dense or problem.record_steps):
        steps = unflatten(
            [
                torch.cat([part, last])
                for part, last in zip(_behind(result.chunks), cursor_end(result, engine), strict=True)
            ],
            spec,
        )
    if result.chunks and problem.dense:
        dense = put(
            [torch.cat(parts) for parts in zip(*(c.dense for c in result.chunks), strict=True)], engine.dense_place
        )
    y, carry = put(result.cursor, place.y), put(result.cursor, place.state.carry)
    return Outputs(y, carry, interior, put(result.integral, engine.integral_place), steps, dense)


def _behind(chunks: list[Chunk]) -> list[Tensor]:
    """First states of all steps but the first one: the states behind the others."""
    return [torch.cat(parts)[1:] for parts in zip(*(chunk.used.y for chunk in chunks), strict=True)]


def cursor_end(result: Run, engine: Any) -> list[Tensor]:
    """The last state, as one row."""
    return [leaf.unsqueeze(0) for leaf in pick(result.cursor, engine.place.y)]


class _Replay:
    """One compiled solve between its forward and its backward passes."""

    def __init__(self, session: Session, places: list[int], chunks: Kept | Bounded) -> None:
        self.session, self.places, self.chunks = session, places, chunks
        self.context = autocast_state(session.problem.layout.device)
        self.packing: Packing = []
        self._forward: Run | None = None
        constant = [t for i, t in enumerate(session.environment) if i not in places and not t.is_inference()]
        self._constants = [(t, t._version) for t in constant]

    def forward(self) -> tuple[Tensor, ...]:
        """Run the loop; the flat differentiable outputs."""
        self._forward = result = run(self.session, self.chunks.take)
        self.stats, self.reports = result.stats, result.reports
        place = self.session.engine.place
        self.last = [[leaf.detach() for leaf in pick(result.cursor, part)] for part in (place.y, place.state.carry)]
        self.integral = [leaf.detach() for leaf in result.integral]
        flat, self.packing = _outputs(self.session, result).packed()
        return tuple(flat)

    def finish(self) -> Run:
        """The run; its outputs lead back here, and so are not kept."""
        result, self._forward = self._forward, None
        assert result is not None
        return result

    def gradients(self, tensors: tuple[Tensor, ...], cotangents: tuple[Tensor | None, ...]) -> list[Tensor | None]:
        """Gradients of the inputs, with a graph of their own where one is wanted."""
        graph = torch.is_grad_enabled()
        if not graph:
            try:
                return self._backward(cotangents)
            except _Eagerly as reason:
                warn_once(f"compile=True computes this gradient eagerly: {reason}")
        environment = [self.session.environment[i] for i in self.places]
        with self.context(), torch.enable_grad():
            grads = differentiable(self.session, self.chunks.taken, self.packing, environment, tensors, cotangents)
        return grads if graph else [None if grad is None else grad.detach() for grad in grads]

    def _backward(self, cotangents: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Gradients of times, first state and carry, and of what the field reads."""
        if any(t._version != version for t, version in self._constants):
            raise GradientError(
                "the field has changed since it was solved: a buffer or a closed-over tensor was written to. Its "
                "gradient would be that of another field; wanted backward() before such changes"
            )
        problem = self.session.problem
        total = Outputs.unpacked(cotangents, self.packing)
        last, carried, interior, integral, steps, dense = (_flat(part) for part in total)
        environment = [t.detach() for t in self.session.environment]
        sums = _Sums([torch.zeros_like(environment[i]) for i in self.places])
        y_bar, carry_bar = filled(last, self.last[0]), filled(carried, self.last[1])
        integral_bar = filled(integral, self.integral) if any(c is not None for c in integral) else []
        taken = self.chunks.taken
        times = TimeGradients(self.session, taken) if problem.ts.requires_grad else None
        step = sum(chunk.rows for chunk in taken)
        report = sum(len(chunk.reading.report) for chunk in taken if chunk.reading is not None)
        before = self.chunks.recomputed
        for chunk in self.chunks.backwards():
            step -= chunk.rows
            nodes, rows = Nodes(chunk), slice(step, step + chunk.rows)
            if chunk.reading is not None:
                report -= len(chunk.reading.report)
                if any(c is not None for c in interior):
                    here = slice(report, report + len(chunk.reading.report))
                    nodes.add_reports(self.reports, [None if c is None else c[here] for c in interior], times)
            nodes.add_steps([None if c is None else c[rows] for c in steps])
            nodes.add_dense([None if c is None else c[rows] for c in dense])
            bars = nodes.at_the_end(y_bar), carry_bar, integral_bar
            y_bar, carry_bar, time_bars = self._undo(chunk, nodes, bars, sums, environment, times is not None)
            if times is not None:
                times.add_steps(step, time_bars)
        self._count(self.chunks.recomputed - before)
        fresh = problem.resume is None or problem.resume.control is None
        if fresh and carry_bar:
            y_bar = self._through_first_carry(y_bar, carry_bar, sums, environment)
        head = [None if times is None else times.total, *y_bar, *([] if fresh else carry_bar)]
        return [*head, *sums.found()]

    def _undo(
        self, chunk: Chunk, nodes: Nodes, bars: tuple[list[Tensor], list[Tensor], list[Tensor]], sums: _Sums,
        environment: list[Tensor], timed: bool,
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:  # fmt: skip
        """Cotangents of a chunk's first state and carry, and of its steps' times."""
        session, buffers = self.session, chunk.buffers
        y_bar, carry_bar, integral_bar = bars
        node_y, node_dense = nodes.y, nodes.dense
        wanted = Wanted(tuple(self.places), timed, bool(node_y), bool(node_dense), bool(integral_bar))
        undo = self._loop(wanted, buffers.times.shape[0])
        time_bars = torch.zeros_like(buffers.times) if timed else buffers.times
        try:
            y_bar, carry_bar = undo(
                [torch.tensor(chunk.rows)], y_bar, carry_bar, sums.totals, [time_bars] if timed else [],
                [buffers.times], buffers.y, buffers.carry, node_y, node_dense, integral_bar, session.inputs,
                environment,
            )  # fmt: skip
        except Differs as error:
            if isinstance(error, Miscompiled):
                distrust(error)
            if session.require:
                raise
            raise _Eagerly(str(error)) from error
        session.entries += 1
        self._count(chunk.rows)
        sums.mark(undo.reached)
        time_bars = time_bars[: chunk.rows]
        return y_bar, carry_bar, time_bars if nodes.times is None else time_bars + nodes.times

    def _count(self, replayed: int) -> None:
        """Steps were taken again."""
        self.stats.replayed += replayed
        self.stats.backward_evaluations += replayed * self.session.engine.costs.replay

    def _loop(self, wanted: Wanted, rows: int) -> Backward:
        """The backward loop."""
        session = self.session
        try:
            return session.engine.backward(wanted, rows)
        except Exception as error:
            reason = explained(error)
            if session.require:
                raise IncompatibleError(f"compile='require': {reason}") from error
            raise _Eagerly(reason) from error

    def _through_first_carry(
        self, y_bar: list[Tensor], carry_bar: list[Tensor], sums: _Sums, environment: list[Tensor]
    ) -> list[Tensor]:
        """Cotangents of the first carry, passed on to what it was made of; returns those of the first state."""
        engine = self.session.engine
        with torch.enable_grad():
            inputs = [leaf_of(t) for t in self.session.inputs]
            own = [leaf_of(t) if i in self.places else t for i, t in enumerate(environment)]
            carry = pick(engine.graph(engine.start, inputs, [], own), engine.place.state.carry)
            pairs = [(c, bar) for c, bar in zip(carry, carry_bar, strict=True) if c.requires_grad]
            states = pick(inputs, engine.y0_place)
            found = torch.autograd.grad(
                [c for c, _ in pairs], [*states, *(own[i] for i in self.places)], [bar for _, bar in pairs],
                allow_unused=True,
            )  # fmt: skip
        sums.add(found[len(states) :])
        return [bar if g is None else bar + g for bar, g in zip(y_bar, found, strict=False)]


class _Eagerly(Exception):
    """A backward loop cannot be made; its argument says why."""


class _Sums:
    """Gradients of what every step sees, summed; those that no step reached are None."""

    def __init__(self, totals: list[Tensor]) -> None:
        self.totals, self._reached = totals, [False] * len(totals)

    def mark(self, reached: Sequence[bool]) -> None:
        """Some were added to by a kernel."""
        self._reached = [a or b for a, b in zip(self._reached, reached, strict=True)]

    def add(self, grads: Sequence[Tensor | None]) -> None:
        """Add where there is something."""
        self.mark([grad is not None for grad in grads])
        for total, grad in zip(self.totals, grads, strict=True):
            if grad is not None:
                total += grad

    def found(self) -> list[Tensor | None]:
        """The sums."""
        return [total if used else None for total, used in zip(self.totals, self._reached, strict=True)]


def _flat(tree: Tree) -> list[Tensor | None]:
    """Leaves of a tree of cotangents, None among them."""
    return [] if tree is None else flatten(tree)[0]
