"""The compiled driver: chunks of steps, each one call into a compiled loop; Python looks in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.adjoint.continuous import Augmented
from torchdyn_core.binding import NO_ARGS
from torchdyn_core.compiled.body import Inputs, Task
from torchdyn_core.compiled.buffers import Buffers, Counters, Plan
from torchdyn_core.compiled.capture import Key, capture
from torchdyn_core.compiled.engine import Engine
from torchdyn_core.compiled.packing import in_rows
from torchdyn_core.compiled.places import pick, pick_indices, put
from torchdyn_core.compiled.reports import Reading, Reports
from torchdyn_core.layout import Segments
from torchdyn_core.loop.body import resumed, where_flag
from torchdyn_core.loop.eager import failures
from torchdyn_core.loop.problem import Outputs, Problem, Record, Trajectory
from torchdyn_core.loop.progress import Progress
from torchdyn_core.loop.transition import ends_shifted, seen_field
from torchdyn_core.runge_kutta import ExplicitRungeKutta
from torchdyn_core.solution import Stats, Status
from torchdyn_core.tree import Tree, leaves, tree_map

__all__ = ["Chunk", "Run", "Session", "enter", "laid_out", "needs_dense", "records", "run", "trajectory"]

_ROOM = 64 * 2**20  # bytes of buffers that one entry into the loop may fill
_FEWEST, _MOST = 8, 4096  # rows of a buffer


@dataclass(eq=False)
class Session:
    """One solve on an engine.

    Arguments:
        problem: What is solved, as the eager loop has it.
        engine: The kernels.
        flat: Inputs of the captured graph, as Dynamo hands them over.
        entries: How often a compiled loop was entered.
        rows: Rows of a buffer.
        require: Whether to raise where a kernel cannot be made.
    """

    problem: Problem
    engine: Engine
    flat: tuple[Any, ...]
    rows: int
    entries: int = 0
    require: bool = False

    @property
    def inputs(self) -> list[Tensor]:
        """The solve's own inputs."""
        return [self.flat[index].detach() for index in self.engine.own]

    @property
    def environment(self) -> list[Tensor]:
        """What the field reads, with its place in autograd's graph."""
        return [self.flat[index] for index in self.engine.environment]


class Chunk(NamedTuple):
    """Steps of one entry into the loop.

    Arguments:
        rows: How many were accepted.
        buffers: Their times, first states and carries, with room behind them.
        used: The same without it.
        end: Leaves of the state behind the last one.
        carry: Leaves of the carry there.
        reading: Which reports were read off them.
        dense: Their dense output, where a backward pass or the solution itself will ask for it.
        dense_like: What one step's dense output looks like: tensors without storage.
    """

    rows: int
    buffers: Buffers
    used: Buffers
    end: list[Tensor]
    carry: list[Tensor]
    reading: Reading | None
    dense: list[Tensor]
    dense_like: list[Tensor]


@dataclass(eq=False)
class Run:
    """What came of it: everything that a trajectory is made of, and the chunks that a backward pass needs."""

    cursor: list[Tensor]
    integral: list[Tensor]
    interior: list[Tree]
    status: Any
    stats: Stats
    reports: Reports
    chunks: list[Chunk] = field(default_factory=list)


def laid_out(problem: Problem) -> tuple[Task, Inputs]:
    """A problem in two parts: what is captured, and the tensors of this solve."""
    layout, span = problem.layout, problem.span
    kind = "shared" if layout.shared else "segments" if isinstance(layout, Segments) else "per sample"
    timed = problem.ts.requires_grad

    def scalar(value: Any) -> Tensor:
        made = in_rows(value.clone()) if isinstance(value, Tensor) else torch.tensor(value, dtype=layout.dtype)
        return made.to(layout.device)

    inputs = Inputs(
        scalar(span.start).requires_grad_(timed), scalar(span.end).requires_grad_(timed), scalar(span.direction),
        tree_map(lambda leaf: in_rows(leaf.detach()).requires_grad_(), problem.y0), problem.jumps.table(layout),
        layout.ids if isinstance(layout, Segments) else None,
    )  # fmt: skip
    field = problem.field
    field, adjoint = (field.inner, field.problem) if isinstance(field, Augmented) else (field, None)
    task = Task(
        field.source, None if field.args is NO_ARGS else field.args, problem.solver, problem.controller,
        problem.integral_loss, kind, problem.ts.shape[0] > 2 or problem.dense, adjoint,
    )  # fmt: skip
    return task, inputs


def enter(problem: Problem, key: Key, task: Task, inputs: Inputs, most: int | None) -> Session:
    """Find or make the engine for a problem, whose buffers have `most` rows at most."""
    captured, shapes, flat = capture(key, task, inputs)
    rows = _capacity(problem) if most is None else min(_capacity(problem), most)
    return Session(problem, captured.engine(shapes, inputs, flat, rows), flat, rows)


def needs_dense(problem: Problem) -> bool:
    """Whether the gradient of reports depends on dense output: not where it is linear, and report times have none."""
    own = type(problem.solver).interpolate is ExplicitRungeKutta.interpolate
    return problem.ts.requires_grad or not own


def _capacity(problem: Problem) -> int:
    """Rows of a buffer: as many as fit, and no more than there may be steps."""
    stages = 8 if problem.ts.shape[0] > 2 or problem.dense else 1
    size = stages * sum(leaf.nbytes for leaf in leaves(problem.y0)) + 1
    return int(min(max(_ROOM // size, _FEWEST), _MOST))


def run(session: Session, take: Callable[[Chunk], None] | None = None) -> Run:
    """Integrate.

    Arguments:
        session: The solve.
        take: Told of every chunk, where a backward pass will ask for them.
    """
    problem, engine = session.problem, session.engine
    environment = [tensor.detach() for tensor in session.environment]
    outer = [*session.inputs, *environment]
    rows, values = session.rows, engine.values(session.flat, session.rows)
    reports = Reports(problem, engine)
    outlast = problem.dense or problem.record_steps
    plan = Plan(take is not None or outlast or bool(reports), problem.dense or bool(reports))
    with torch.no_grad(), Progress(problem) as progress:
        cursor = _begun(session, list(engine.begin(*outer)))
        counters = engine.counters(cursor[engine.place.t])
        integral = engine.integral_of(values)
        result = Run(cursor, integral, [], _success(problem), Stats(), reports)
        tried, going = 0, bool(cursor[engine.place.active].any())
        while going and tried < problem.max_steps:
            buffers = engine.buffers(cursor, engine.dense_of(values) if plan.dense else [], plan, rows)
            loop = engine.forward(plan, rows)
            counters, integral, cursor = loop(counters, integral, cursor, problem.max_steps, buffers, outer)
            session.entries += 1
            tried, count = int(counters.tried), int(counters.rows)
            if plan.states and count:
                chunk = _chunk(session, result, count, engine.arranged(buffers), cursor)
                if outlast:
                    result.chunks.append(chunk)
                if take is not None:
                    take(chunk)
            cursor = _between(session, result, counters, cursor, outer)
            active = cursor[engine.place.active]
            going = bool(active.any())
            if going:
                counters = counters._replace(rows=torch.zeros_like(counters.rows), wild=counters.wild & False,
                                             stuck=counters.stuck & False, jumped=counters.jumped & False)  # fmt: skip
            progress.update(_scalar(cursor[engine.place.t]), tried)
        if going:
            over = torch.full_like(active, Status.MAX_STEPS, dtype=torch.int64)
            result.status = (
                torch.where(active, over, torch.as_tensor(result.status)) if active.dim() else Status.MAX_STEPS
            )
    result.cursor, result.integral = cursor, list(integral)
    stats, costs = result.stats, engine.costs
    stats.steps = tried
    stats.accepted, stats.rejected = (_scalar(part) for part in (counters.accepted, counters.rejected))
    stats.evaluations += costs.begin + tried * costs.step
    return result


def trajectory(session: Session, result: Run, outputs: Outputs) -> Trajectory:
    """The record that the rest of a solve is made from."""
    engine, problem = session.engine, session.problem
    place, cursor = engine.place, result.cursor
    control = type(place.control)(*(_scalar(part) for part in pick(cursor, place.control)))
    steps = records(session, result.chunks) if problem.dense or problem.record_steps else []
    return Trajectory(
        outputs, _scalar(cursor[place.t]), control, result.reports.reached, result.reports.rows, steps,
        result.status, result.stats,
    )  # fmt: skip


def _begun(session: Session, cursor: list[Tensor]) -> list[Tensor]:
    """The first cursor, with the memory of an earlier solve where this one goes on from there."""
    problem, engine = session.problem, session.engine
    resume = problem.resume
    if resume is None or resume.control is None:
        problem.controller.check(problem.span)
        return cursor
    tree = put(cursor, engine.place)
    went_on = resumed(problem, tree)

    def like(new: Any, old: Tensor) -> Tensor:
        return in_rows(torch.as_tensor(new, dtype=old.dtype, device=old.device).clone())

    control = [like(new, old) for new, old in zip(went_on.control, tree.control, strict=True)]
    cursor = list(cursor)
    for place, leaf in zip(pick_indices(engine.place.control), control, strict=True):
        cursor[place] = leaf
    for place, leaf in zip(pick_indices(engine.place.state.carry), leaves(resume.carry), strict=True):
        cursor[place] = in_rows(leaf.detach().clone())
    return cursor


def _chunk(session: Session, result: Run, count: int, buffers: Buffers, cursor: list[Tensor]) -> Chunk:
    """The steps of one entry; reads the reports off them."""
    engine, problem = session.engine, session.problem
    # apart from the cursor's own, which autograd leads back to whoever keeps the chunks: a cycle, freed late
    end, carry = ([leaf.detach() for leaf in pick(cursor, part)] for part in (engine.place.y, engine.place.state.carry))
    used = Buffers(buffers.times[:count], *([part[:count] for part in parts] for parts in buffers[1:]))
    reading = None
    if result.reports:
        reading = result.reports.read(used)
        if reading is not None:
            result.interior.append(result.reports.values(reading, used, end))
    wanted = problem.dense or (reading is not None and needs_dense(problem))
    dense, like = used.dense if wanted else [], [part[0].to("meta") for part in used.dense]
    return Chunk(count, buffers._replace(dense=[]), used._replace(dense=[]), end, carry, reading, dense, like)


def _between(
    session: Session, result: Run, counters: Counters, cursor: list[Tensor], outer: Sequence[Tensor]
) -> list[Tensor]:
    """What the loop was left for: samples that failed, a jump."""
    problem, engine = session.problem, session.engine
    layout, place = problem.layout, engine.place
    wild, stuck = (bool(flag) if layout.shared else flag for flag in (counters.wild, counters.stuck))

    def slope() -> Tree:
        here: Any = put(cursor, place)
        t, jump = _scalar(here.t), _scalar(here.at_jump)
        no, yes = layout.flag(False), layout.flag(True)
        field = seen_field(problem, Record(t, problem.span.end, yes, yes, jump, no, no))
        return problem.solver.slope(field, layout.rows(t), here.y, here.state)

    failed = failures(problem, wild, stuck, slope)
    if failed is not None:
        active = cursor[place.active]
        if layout.shared:
            result.status = failed
            cursor[place.active] = torch.zeros_like(active)
        else:
            result.status = torch.where(failed != Status.SUCCESS, failed, result.status)
            cursor[place.active] = active & (failed == Status.SUCCESS)
    if engine.stops_at_jumps and bool((counters.jumped & cursor[place.active]).any()):
        split = list(engine.renew(*session.inputs, *cursor, *outer[len(session.inputs) :]))
        result.stats.evaluations += engine.costs.rebuild
        for index in pick_indices(place.state.cache):
            cursor[index] = split[index]
    return cursor


def _success(problem: Problem) -> Any:
    if problem.layout.shared:
        return Status.SUCCESS
    return torch.full((problem.layout.samples,), Status.SUCCESS, device=problem.layout.device)  # type: ignore[arg-type]


def _scalar(value: Tensor) -> Any:
    """A Python number where steps are shared."""
    return value if value.dim() else value.item()


def records(session: Session, chunks: list[Chunk]) -> list[Record]:
    """The accepted steps, as the eager loop records them."""
    problem = session.problem
    layout, jumps, span = problem.layout, problem.jumps, problem.span
    made: list[Record] = []
    shifted = layout.flag(True)
    for chunk in chunks:
        times = chunk.used.times
        for t0, t1 in times.tolist() if layout.shared else times:
            accepted = True if layout.shared else t1 != t0
            final = accepted & (t1 == span.end)
            made.append(Record(t0, t1, accepted, shifted, jumps.holds(t0), accepted & jumps.holds(t1), final))
            shifted = where_flag(accepted, ends_shifted(problem, made[-1]), shifted)
    return made
