"""The body of the stepping loop: one step tried, accepted or rejected. A pure function; drivers repeat it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.binding import BoundField
from torchdyn_core.loop.problem import Problem, Record
from torchdyn_core.loop.transition import ends_shifted, seen_field, step_times
from torchdyn_core.scalars import Flag, Scalar, absolute, is_finite, negate, where
from torchdyn_core.solver import State, Step
from torchdyn_core.tree import Tree

__all__ = ["Attempt", "Cursor", "fresh", "rebuild_cache", "resumed", "start", "try_step"]


class Cursor(NamedTuple):
    """Where a run is.

    Arguments:
        t: Time reached.
        y: State there.
        state: The solver's memory.
        control: The controller's memory.
        shifted: Whether `t` moves along with `ts[0]`.
        at_jump: Whether the field jumps at `t`.
        active: Which samples go on.
    """

    t: Scalar
    y: Tree
    state: State
    control: Any
    shifted: Flag
    at_jump: Flag
    active: Flag


class Attempt(NamedTuple):
    """A step that was tried.

    Arguments:
        cursor: Where the run is after it.
        record: The step, as a replay would do it.
        step: What the solver returned.
        field: The field as the step saw it.
        times: The step's times as the solver got them.
        wild: Which active samples came out of it with NaN or inf.
        stuck: Which can go no smaller.
    """

    cursor: Cursor
    record: Record
    step: Step
    field: BoundField
    times: tuple[Tensor, Tensor]
    wild: Flag
    stuck: Flag


def start(problem: Problem) -> Cursor:
    """The cursor before the first step."""
    span, resume = problem.span, problem.resume
    active = span.start != span.end
    moving = bool(active.any()) if isinstance(active, Tensor) else active
    if not moving:
        carry, control = (None, None) if resume is None else (resume.carry, resume.control)
        at_jump, shifted = problem.jumps.holds(span.start), problem.layout.flag(True)
        return Cursor(span.start, problem.y0, State(carry), control, shifted, at_jump, active)
    afresh = resume is None or resume.control is None or not _all(resume.started)
    if afresh:
        problem.controller.check(span)
    return resumed(problem, fresh(problem, controlled=afresh))


def fresh(problem: Problem, *, controlled: bool = True) -> Cursor:
    """The cursor of a solve that begins; `controlled` tells whether to ask the controller for a first step."""
    layout, span, solver = problem.layout, problem.span, problem.solver
    at_jump, active = problem.jumps.holds(span.start), span.start != span.end
    first = Record(span.start, span.end, active, layout.flag(True), at_jump, layout.flag(False), active)
    field = seen_field(problem, first)
    t0, t1 = step_times(problem, first)
    y0 = layout.lend(active, problem.y0)
    state, control = solver.init(field, t0, t1, y0), None
    if controlled:
        # unrolled steps have nothing to keep out of gradients, and an exported graph cannot save a region that is empty
        with torch.no_grad() if layout.known else nullcontext():
            control = problem.controller.init(
                field, solver, span, y0, lambda: solver.slope(field, t0, y0, state), layout
            )
    return Cursor(span.start, problem.y0, state, control, layout.flag(True), at_jump, active)


def resumed(problem: Problem, cursor: Cursor) -> Cursor:
    """A fresh cursor with the memory of the earlier solve that goes on, where there is one."""
    resume, control = problem.resume, cursor.control
    if resume is None or resume.control is None:
        return cursor
    went_on = problem.controller.resume(resume.control, problem.span)
    control = went_on if control is None else _select_control(resume.started, went_on, control)
    return cursor._replace(state=State(resume.carry, cursor.state.cache), control=control)


def _all(flag: Flag) -> bool:
    return bool(flag.all()) if isinstance(flag, Tensor) else flag


def try_step(problem: Problem, cursor: Cursor) -> Attempt:
    """Try one step and judge it."""
    layout, controller, span = problem.layout, problem.controller, problem.span
    t = cursor.t
    target = controller.target(cursor.control, t, span)
    bound = problem.jumps.following(t)
    ahead = span.direction * (target - bound)
    slack = 1e-9 * absolute(target - t)  # a bound this close is the target, give or take rounding
    clipped, cut = ahead >= -slack, ahead > slack
    t1 = where(cursor.active, where(clipped, bound, target), t)
    final = clipped & (bound == span.end)
    record = Record(
        t, t1, layout.flag(True), cursor.shifted, cursor.at_jump, clipped & problem.jumps.holds(bound), final
    )
    field, times = seen_field(problem, record), step_times(problem, record)
    y = cursor.y
    if not layout.shared and layout.on_graph:
        y = layout.lend(cursor.active, y)
    step = problem.solver.step(field, *times, y, cursor.state)
    error, ok = _judge(problem, cursor.y, step)
    verdict = controller.decide(cursor.control, t, t1, cut, where(ok, error, torch.inf), problem.solver.order)
    accept = verdict.accept & ok & cursor.active
    wild = cursor.active & ok & negate(is_finite(error))
    still = t1 == t  # the step size has fallen below what time resolves
    accept = accept & negate(still)
    stuck = cursor.active & ((negate(accept) & verdict.exhausted) | still)
    if not layout.shared:
        record = record._replace(t1=where(accept, t1, t), accepted=accept)
    moved = Cursor(
        where(accept, t1, t),
        layout.select(accept, step.y, cursor.y),
        _select_state(problem, accept, step.state, cursor.state),
        _select_control(cursor.active, verdict.control, cursor.control),
        where_flag(accept, ends_shifted(problem, record), cursor.shifted),
        where_flag(accept, record.jump1, cursor.at_jump),
        cursor.active & negate(accept & final),
    )
    return Attempt(moved, record._replace(accepted=accept), step, field, times, wild, stuck)


def rebuild_cache(problem: Problem, cursor: Cursor) -> Cursor:
    """The cursor behind a jump: the cache is made anew, of the field on the other side."""
    layout = problem.layout
    behind = Record(
        cursor.t, problem.span.end, cursor.active, cursor.shifted, cursor.at_jump, layout.flag(False), layout.flag(True)
    )
    t0, t1 = step_times(problem, behind)
    cache = problem.solver.init(seen_field(problem, behind), t0, t1, cursor.y).cache
    if cache is None:
        return cursor
    cache = layout.select(cursor.at_jump, cache, cursor.state.cache)
    return cursor._replace(state=State(cursor.state.carry, cache))


def where_flag(flag: Flag, a: Flag, b: Flag) -> Flag:
    """`a` where the flag holds, else `b`, for decisions."""
    if isinstance(flag, Tensor):
        return (flag & a) | (~flag & b)
    return a if flag else b


def _judge(problem: Problem, y: Tree, step: Step) -> tuple[Scalar, Flag]:
    """The error in units of the tolerance, not finite where the state is not; whether the solver is content."""
    layout, controller = problem.layout, problem.controller
    if controller.adaptive:
        with torch.no_grad():
            error = controller.error(step.error, y, step.y, layout)
    else:
        error = where(layout.finite(step.y), layout.constant(0.0), torch.inf)
    ok = step.ok if isinstance(step.ok, bool) else layout.all_rows(step.ok)
    return error, ok if layout.shared or isinstance(ok, Tensor) else layout.flag(ok)


def _select_control(active: Flag, new: Any, old: Any) -> Any:
    """The controller's memory of samples that go on; that of the others stays as it was when they arrived."""
    if not isinstance(active, Tensor):
        return new
    return type(new)(*(where(active, a, b) for a, b in zip(new, old, strict=True)))


def _select_state(problem: Problem, accept: Flag, new: State, old: State) -> State:
    if not isinstance(accept, Tensor):
        return new if accept else old
    select = problem.layout.select
    carry = None if new.carry is None else select(accept, new.carry, old.carry)
    cache = None if new.cache is None else select(accept, new.cache, old.cache)
    return State(carry, cache)
