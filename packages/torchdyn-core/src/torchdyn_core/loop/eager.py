"""The eager driver: a Python `while` around the body."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from torchdyn_core.binding import field_time
from torchdyn_core.loop.body import Attempt, Cursor, rebuild_cache, start, try_step
from torchdyn_core.loop.problem import Outputs, Problem, Record, Rows, Trajectory
from torchdyn_core.loop.progress import Progress
from torchdyn_core.loop.reports import ReportSchedule
from torchdyn_core.loop.transition import observe
from torchdyn_core.scalars import Flag, negate, where
from torchdyn_core.solution import Stats, Status
from torchdyn_core.tree import Tree, tree_map

__all__ = ["Tape", "run"]


class Tape(Protocol):
    """What a checkpointing adjoint hands to the loop, to be told of each accepted step before it is left."""

    def push(self, record: Record, y: Tree, carry: Tree) -> None:
        """A step from `y` and `carry` was accepted."""


class Log:
    """What a run has read off its steps so far."""

    def __init__(self, problem: Problem) -> None:
        self._keep = problem.dense or problem.record_steps
        self.records: list[Record] = []
        self.rows: list[Rows] = []
        self._interior: list[Tree] = []
        self._steps: list[Tree] = []
        self._dense: list[Tree] = []
        self._integral: Tree = None

    def add(self, problem: Problem, record: Record, attempt: Attempt, y: Tree) -> None:
        """Read an accepted step."""
        seen = observe(problem, record, attempt.field, *attempt.times, y, attempt.step)
        if record.rows is not None:
            self.rows.append(record.rows)
            self._interior.append(seen.interior)
        if seen.integral is not None:
            total = self._integral
            self._integral = seen.integral if total is None else tree_map(torch.add, total, seen.integral)
        if self._keep:
            self.records.append(record)
            self._steps.append(attempt.cursor.y)
        if problem.dense:
            self._dense.append(seen.dense)

    def outputs(self, problem: Problem, cursor: Cursor) -> Outputs:
        """The differentiable results."""
        if self._integral is None and problem.integral_loss is not None:  # no step: an integral over nothing
            value = problem.integral_loss(field_time(problem.layout.rows(cursor.t), cursor.y), cursor.y)
            self._integral = tree_map(torch.zeros_like, value)
        return Outputs(
            cursor.y,
            cursor.state.carry,
            _joined(self._interior, torch.cat),
            self._integral,
            _joined(self._steps, torch.stack),
            _joined(self._dense, torch.stack),
        )


def run(problem: Problem, tape: Tape | None = None) -> Trajectory:
    """Integrate a problem.

    Arguments:
        problem: What to solve.
        tape: Told of every accepted step, where a backward pass will replay them.
    """
    layout = problem.layout
    with Progress(problem) as progress:
        cursor = start(problem)
        log, reports = Log(problem), ReportSchedule(problem)
        status, stats = _status(problem, Status.SUCCESS), Stats()
        accepted = rejected = 0 if layout.shared else layout.constant(0.0).long()
        going = _any(cursor.active)
        while going and stats.steps < problem.max_steps:
            attempt = try_step(problem, cursor)
            stats.steps += 1
            record = attempt.record
            failed = failures(problem, attempt.wild, attempt.stuck, partial(_slope, problem, cursor, attempt))
            if not layout.shared and torch.is_grad_enabled() and _any(attempt.wild):
                attempt = _without_wild(problem, cursor, attempt)
            accepted = accepted + record.accepted
            rejected = rejected + (cursor.active & negate(record.accepted))
            if _any(record.accepted):
                record = record._replace(rows=reports.crossed(record))
                log.add(problem, record, attempt, cursor.y)
                if tape is not None:
                    tape.push(record, cursor.y, cursor.state.carry)
                crossed = record.jump1 & record.accepted
                cursor = attempt.cursor
                if problem.jumps and _any(crossed & cursor.active):
                    cursor = rebuild_cache(problem, cursor)
            else:
                cursor = attempt.cursor
            if failed is not None:
                status = where(failed != Status.SUCCESS, failed, status)
                cursor = cursor._replace(active=cursor.active & (failed == Status.SUCCESS))
            going = _any(cursor.active)
            progress.update(cursor.t, stats.steps)
        if going:
            status = where(cursor.active, _status(problem, Status.MAX_STEPS), status)
    stats.accepted, stats.rejected = accepted, rejected
    return Trajectory(
        log.outputs(problem, cursor), cursor.t, cursor.control, reports.reached, log.rows, log.records, status, stats
    )


def _any(flag: Flag) -> bool:
    return bool(flag.any()) if isinstance(flag, Tensor) else flag


def _status(problem: Problem, value: Status) -> Any:
    if problem.layout.shared:
        return value
    return torch.full((problem.layout.samples,), value, device=problem.layout.device)  # type: ignore[arg-type]


def _joined(parts: list[Tree], join: Any) -> Tree:
    if not parts:
        return None
    return tree_map(lambda *leaf: join(leaf), parts[0], *parts[1:])


def failures(problem: Problem, wild: Flag, stuck: Flag, slope: Callable[[], Tree]) -> Any:
    """A status for each sample that an attempt ends, or None where it ends none.

    Arguments:
        problem: What is solved.
        wild: Which samples came out of the attempt with NaN or inf.
        stuck: Which can go no smaller.
        slope: Gives dy/dt where the attempt began.
    """
    if not _any(wild) and not _any(stuck):
        return None
    status = where(stuck, _status(problem, Status.STEP_TOO_SMALL), _status(problem, Status.SUCCESS))
    if _any(wild):
        broken = wild
        if problem.controller.adaptive:
            # NaN from a step too long is a rejection like any other; NaN at the state itself is the end
            with torch.no_grad():
                broken = wild & negate(problem.layout.finite(slope()))
        status = where(broken, _status(problem, Status.NOT_FINITE), status)
    return status if _any(status != Status.SUCCESS) else None


def _slope(problem: Problem, cursor: Cursor, attempt: Attempt) -> Tree:
    return problem.solver.slope(attempt.field, attempt.times[0], cursor.y, cursor.state)


def _without_wild(problem: Problem, cursor: Cursor, attempt: Attempt) -> Attempt:
    """The same attempt with rejected samples standing still: their NaN would enter gradients through `0 * NaN`."""
    layout = problem.layout
    t0, t1 = attempt.times
    t1 = torch.where(layout.rows(attempt.record.accepted), t1, t0)
    y = layout.lend(attempt.record.accepted, cursor.y)
    step = problem.solver.step(attempt.field, t0, t1, y, cursor.state)
    accept, state = attempt.record.accepted, attempt.cursor.state
    carry = None if step.state.carry is None else layout.select(accept, step.state.carry, cursor.state.carry)
    cache = None if step.state.cache is None else layout.select(accept, step.state.cache, cursor.state.cache)
    moved = attempt.cursor._replace(
        y=layout.select(accept, step.y, cursor.y), state=state._replace(carry=carry, cache=cache)
    )
    return attempt._replace(cursor=moved, step=step, times=(t0, t1))
