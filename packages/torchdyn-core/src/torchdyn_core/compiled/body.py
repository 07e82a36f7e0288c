"""What is captured: the eager loop's own body, once from the start, once from anywhere, once as a replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from torchdyn_core.adjoint.continuous import AdjointProblem, augmented
from torchdyn_core.binding import BoundField, Calls, checked_result
from torchdyn_core.compiled.marks import mark_tree
from torchdyn_core.controller import Span, StepController
from torchdyn_core.layout import Layout, PerSample, Segments
from torchdyn_core.loop.body import Cursor, fresh, rebuild_cache, try_step
from torchdyn_core.loop.problem import Jumps, Problem, Record
from torchdyn_core.loop.transition import observe, replay
from torchdyn_core.scalars import Flag, Scalar
from torchdyn_core.solver import Solver
from torchdyn_core.tree import Tree, leaves, tree_map

__all__ = ["Costs", "Inputs", "Task", "Untraced", "body"]


class Inputs(NamedTuple):
    """The tensors of one solve that belong to the solve, not to the field.

    Arguments:
        start, end, direction: The span, `()` or `(B,)`.
        y0: The state at the start.
        jumps: Times of jumps, directed and sorted, `(1, K)` or `(B, K)`, or None.
        ids: The sample of each row where rows come in segments, or None.
    """

    start: Tensor
    end: Tensor
    direction: Tensor
    y0: Tree
    jumps: Tensor | None
    ids: Tensor | None


@dataclass(frozen=True, eq=False)
class Task:
    """What a solve computes, whatever the numbers: the part that is read once, while the graph is captured.

    Arguments:
        source: The field, begun.
        args: Its arguments, or None.
        solver: The method.
        controller: Step-size control.
        integral_loss: The running loss, or None.
        layout: "shared", "per sample" or "segments".
        dense: Whether reports, or the dense output itself, will be asked for.
        adjoint: What of the field is differentiated, where its continuous adjoint is solved in its place, or None.
    """

    source: Callable[..., Tree]
    args: Tree
    solver: Solver
    controller: StepController
    integral_loss: Callable[[Tensor, Tree], Tree] | None
    layout: str
    dense: bool
    adjoint: AdjointProblem | None


class Costs(NamedTuple):
    """Evaluations of the field: to begin, for each step tried, for a cache that is made anew, for a replay."""

    begin: int
    step: int
    rebuild: int
    replay: int


class Shapes(NamedTuple):
    """The structure of what a solve carries; its tensors stand for those of the marks in the same order.

    Arguments:
        cursor, integral, dense: Trees.
        costs: Evaluations of the field.
        reached: Which targets of a continuous adjoint the field uses; None where none is solved.
    """

    cursor: Cursor
    integral: Tree
    dense: Tree
    costs: Costs
    reached: list[int] | None


class TracedField(BoundField):
    """A bound field while it is captured: the same times and the same checks; what eager solves watch, guards do."""

    def __init__(self, source: Callable[..., Tree], args: Tree, calls: Calls) -> None:
        self.source, self.args, self.calls = source, args, calls
        self._window: tuple[Tensor, Tensor] | None = None

    def evaluate(
        self, function: Callable[..., Tree], t: Tensor, y: Tree, like: Tree | Callable[[Tree, Tree], Tree] | None = None
    ) -> Tree:
        self.calls.count += 1
        time = self.time(t, y)
        with torch.enable_grad():  # a field may differentiate inside; what has no reader costs nothing
            time, alive = time.clone(), tree_map(_alive, y)
            out = function(time, alive) if self.args is None else function(time, alive, self.args)
        return checked_result(out, y, like)

    def within(self, lower: Tensor, upper: Tensor) -> TracedField:
        new = TracedField(self.source, self.args, self.calls)
        new._window = (lower, upper)
        return new


def _alive(leaf: Tensor) -> Tensor:
    """A state of the field's own, which it may do to what it likes: whatever it does stays in the field."""
    return (leaf if leaf.requires_grad else leaf.detach().requires_grad_()).clone()


class Lockstep(Layout):
    """All rows share their steps, as in an eager solve; but times are tensors `()`."""

    samples = None
    on_graph = False

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype

    def constant(self, value: float) -> Tensor:
        return torch.full((), value, dtype=self.dtype, device=self.device)

    def flag(self, value: bool) -> Tensor:
        return torch.full((), value, dtype=torch.bool, device=self.device)

    def rows(self, value: Tensor) -> Tensor:
        return value

    def select(self, flag: Tensor, new: Tree, old: Tree) -> Tree:
        return tree_map(lambda a, b: torch.where(flag, a, b), new, old)

    def rms(self, ratio: Tree) -> Tensor:
        parts = leaves(ratio)
        count = sum(part.numel() for part in parts)
        squares = [self.sum_rows(_square(part)) for part in parts]
        total = torch.stack(squares).sum() if len(parts) > 1 else squares[0]
        return (total / max(count, 1)).sqrt()

    def finite(self, tree: Tree) -> Tensor:
        flag = self.flag(True)
        for leaf in leaves(tree):
            flag = flag & torch.isfinite(leaf).all()
        return flag

    def all_rows(self, flag: Tensor) -> Tensor:
        return flag.all()

    def _checked(self, value: Tensor) -> Tensor:
        return value.detach().reshape(()).to(self.dtype)


def _square(leaf: Tensor) -> Tensor:
    leaf = leaf.abs() if leaf.is_complex() else leaf
    return (leaf.float() if leaf.dtype in (torch.float16, torch.bfloat16) else leaf).square()


class _Apart(PerSample):
    """Steps per sample without a look at values: what lends a state is found by arithmetic."""

    on_graph = False

    def lend(self, flag: Tensor, y: Tree) -> Tree:
        lender = flag.long().argmax().reshape(1)
        return self.select(flag, y, tree_map(lambda leaf: leaf.detach().index_select(0, lender).expand_as(leaf), y))


class _Together(Segments):
    on_graph = False


class _TracedJumps(Jumps):
    """Jumps as a table that is an input."""

    def __init__(self, table: Tensor | None, span: Span) -> None:
        self._span, self._table = span, table

    def __bool__(self) -> bool:
        return self._table is not None

    def following(self, t: Scalar) -> Scalar:
        if self._table is None:
            return self._span.end
        directed = self._span.direction * t
        place = torch.searchsorted(self._table, directed.reshape(-1, 1).contiguous(), right=True)
        jump = self._table.gather(1, place.clamp(max=self._table.shape[1] - 1)).reshape(directed.shape)
        return self._span.direction * torch.minimum(jump, self._span.direction * self._span.end)

    def holds(self, t: Scalar) -> Flag:
        if self._table is None:
            return torch.zeros_like(t, dtype=torch.bool)
        directed = self._span.direction * t
        return (self._table == directed.reshape(-1, 1)).any(1).reshape(directed.shape)


def _layout(kind: str, inputs: Inputs) -> Layout:
    device, dtype = inputs.start.device, inputs.start.dtype
    if kind == "shared":
        return Lockstep(device, dtype)
    if inputs.ids is None:
        return _Apart(inputs.start.shape[0], device, dtype)
    return _Together(inputs.ids, inputs.start.shape[0], device, dtype)


class Untraced(Exception):
    """No trace holds for what a solve was asked to do."""


def body(task: Task, inputs: Inputs) -> tuple[Shapes, list[Tensor]]:
    """Every part of a solve, one behind the other, with marks between them.

    The marks are `in.*` (the inputs), `begin.*` (the first cursor), `step.*` (the cursor behind a step tried), `try.*`
    (what the loop has to know of it: accepted, its end, whether it jumps there, which samples are wild or stuck),
    `seen.*` (the integral's increment), `dense.*`, `cache.*` (the cursor with its cache made anew), and for the
    replay `from.*` (times, state and carry), `to.*` (state and carry), `toseen.*`, `todense.*`. A continuous adjoint is
    not replayed.

    Raises:
        Untraced: Where it is not traced but run, since no trace of it holds.
    """
    if not torch.compiler.is_compiling():
        raise Untraced
    calls = Calls()
    reached: set[int] | None = None if task.adjoint is None else set()
    problem = _problem(task, mark_tree(inputs, "in"), calls, reached)
    layout = problem.layout
    outputs: list[Tensor] = []

    def counted(before: int) -> int:
        return calls.count - before

    cursor = mark_tree(fresh(problem), "begin")
    begin = calls.count
    outputs += leaves(cursor)

    attempt = try_step(problem, cursor)
    record = attempt.record
    outputs += leaves(mark_tree(attempt.cursor, "step"))
    jumped = record.jump1 & record.accepted & attempt.cursor.active
    told = (record.accepted, record.t1, jumped, attempt.wild, attempt.stuck)
    outputs += leaves(mark_tree(told, "try"))
    seen = observe(problem, record, attempt.field, *attempt.times, cursor.y, attempt.step)
    integral = seen.integral
    if integral is not None:
        integral = layout.select(record.accepted, integral, tree_map(torch.zeros_like, integral))
    outputs += [*leaves(mark_tree(integral, "seen")), *leaves(mark_tree(seen.dense, "dense"))]
    step = counted(begin)

    before, rebuild = calls.count, 0
    if problem.jumps:
        outputs += leaves(mark_tree(rebuild_cache(problem, cursor), "cache"))
        rebuild = counted(before)

    before = calls.count
    if task.adjoint is None:
        outputs += _replayed(problem, cursor, record.t1)
    cursor, integral, dense = (tree_map(Tensor.detach, tree) for tree in (cursor, integral, seen.dense))
    costs = Costs(begin, step, rebuild, counted(before))
    shapes = Shapes(cursor, integral, dense, costs, None if reached is None else list(reached))
    return shapes, [leaf.detach() for leaf in outputs]


def _problem(task: Task, inputs: Inputs, calls: Calls, reached: set[int] | None) -> Problem:
    """The problem whose parts are traced."""
    layout, span = _layout(task.layout, inputs), Span(inputs.start, inputs.end, inputs.direction)
    field = TracedField(task.source, task.args, calls)
    if task.adjoint is not None and reached is not None:
        field = TracedField(augmented(field, replace(task.adjoint, known=None, reached=reached)), None, Calls())
    return Problem(
        field, task.solver, task.controller, layout, inputs.y0,
        torch.stack((inputs.start.detach(), inputs.end.detach())), span, _TracedJumps(inputs.jumps, span),
        integral_loss=task.integral_loss, dense=task.dense,
    )  # fmt: skip


def _replayed(problem: Problem, cursor: Cursor, t1: Tensor) -> list[Tensor]:
    """What a step gives that is done again."""
    layout = problem.layout
    t0, t1, y, carry = mark_tree((cursor.t, t1, cursor.y, cursor.state.carry), "from")
    accepted = t1 != t0 if not layout.shared else layout.flag(True)
    yes = layout.flag(True)
    again = Record(t0, t1, accepted, yes, problem.jumps.holds(t0), accepted & problem.jumps.holds(t1), yes)
    outcome = replay(problem, again, y, carry)
    observed = outcome.observed
    parts = ((outcome.y, outcome.carry), "to"), (observed.integral, "toseen"), (observed.dense, "todense")
    return [leaf for tree, name in parts for leaf in leaves(mark_tree(tree, name))]
