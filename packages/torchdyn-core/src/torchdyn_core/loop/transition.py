"""One step and all that is read off it: forward passes and replays go through the same functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchdyn_core.binding import BoundField, field_time
from torchdyn_core.errors import ShapeError
from torchdyn_core.field import real_dtype
from torchdyn_core.loop.problem import Problem, Record, Rows
from torchdyn_core.scalars import Flag, negate
from torchdyn_core.solver import State, Step
from torchdyn_core.tree import Tree, align, leaves, tree_map

__all__ = [
    "Observed",
    "Outcome",
    "ends_shifted",
    "first_carry",
    "observe",
    "replay",
    "reported",
    "saved",
    "seen_field",
    "step_times",
]

# Gauss-Legendre nodes and weights on [0, 1]: exact to degree 5 and 9, above every dense output they integrate.
_GAUSS_3 = ((0.1127016653792583, 0.5, 0.8872983346207417), (5 / 18, 4 / 9, 5 / 18))
_GAUSS_5 = (
    (0.04691007703066802, 0.23076534494715845, 0.5, 0.7692346550528415, 0.953089922969332),
    (0.11846344252809454, 0.23931433524968324, 0.28444444444444444, 0.23931433524968324, 0.11846344252809454),
)


class Observed(NamedTuple):
    """What is read off an accepted step: reports, the running loss, dense output."""

    interior: Tree = None
    integral: Tree = None
    dense: Tree = None


class Outcome(NamedTuple):
    """A replayed step."""

    y: Tree
    carry: Tree
    observed: Observed


def step_times(problem: Problem, record: Record) -> tuple[Tensor, Tensor]:
    """The step's times as the solver gets them.

    Step sizes are constants: a time moves with `ts[0]` until a jump, and the last one is `ts[-1]`. The values are those
    of the record, bit for bit: what carries the gradient is a zero.
    """
    layout, ts = problem.layout, problem.ts
    t0, t1 = layout.rows(record.t0), layout.rows(record.t1)
    if not ts.requires_grad:
        return t0, t1
    start, end = ts[0] - ts[0].detach(), ts[-1] - ts[-1].detach()
    if layout.shared:
        move0 = start * float(record.shifted)
        move1 = end if record.final else start * float(ends_shifted(problem, record))
        return t0 + move0, t1 + move1
    move0 = start * record.shifted
    move1 = torch.where(record.final, end, start * ends_shifted(problem, record))
    return t0 + layout.rows(move0), t1 + layout.rows(move1)


def ends_shifted(problem: Problem, record: Record) -> Flag:
    """Whether the end of a step moves along with `ts[0]`: not at a jump, and behind one only on a grid."""
    return negate(record.jump1) & (record.shifted | problem.controller.anchored)


def seen_field(problem: Problem, record: Record) -> BoundField:
    """The field as a step sees it: at a jump, only the limit from the step's own side."""
    if not problem.jumps:
        return problem.field
    if not isinstance(record.jump0, Tensor) and not (record.jump0 or record.jump1):
        return problem.field
    layout = problem.layout
    dtype = real_dtype(leaves(problem.y0)[0])
    t0, t1 = (layout.rows(t).detach().to(dtype) for t in (record.t0, record.t1))  # bounds, which pass no gradient on
    jump0, jump1 = (_row_flag(problem, flag) for flag in (record.jump0, record.jump1))
    forward = t1 >= t0
    low, high = torch.full_like(t0, -torch.inf), torch.full_like(t0, torch.inf)
    after, before = (
        torch.nextafter(t0, torch.where(forward, high, low)),
        torch.nextafter(t1, torch.where(forward, low, high)),
    )
    lower = torch.where(forward, torch.where(jump0, after, low), torch.where(jump1, before, low))
    upper = torch.where(forward, torch.where(jump1, before, high), torch.where(jump0, after, high))
    still = t0 == t1  # a sample that waits at a jump is asked there
    return problem.field.within(torch.where(still, low, lower), torch.where(still, high, upper))


def _row_flag(problem: Problem, flag: Flag) -> Tensor:
    if isinstance(flag, Tensor):
        return problem.layout.rows(flag)
    return torch.tensor(flag, device=problem.layout.device)


def observe(
    problem: Problem, record: Record, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, step: Step
) -> Observed:
    """Read reports, the running loss and dense output off an accepted step."""
    if record.rows is None and problem.integral_loss is None and not problem.dense:
        return Observed()
    dense = problem.solver.extend(field, t0, t1, y, step)
    interior = integral = None
    if record.rows is not None:
        interior = _reports(problem, record.rows, t0, t1, y, step.y, dense)
    if problem.integral_loss is not None:
        integral = _quadrature(problem, record, t0, t1, y, step.y, dense)
    return Observed(interior, integral, dense if problem.dense else None)


def first_carry(problem: Problem) -> Tree:
    """The carry that the first step starts from."""
    if problem.resume is not None and problem.resume.control is not None:
        return problem.resume.carry
    layout, span = problem.layout, problem.span
    no, yes = layout.flag(False), layout.flag(True)
    first = Record(span.start, span.end, yes, yes, problem.jumps.holds(span.start), no, yes)
    return problem.solver.init(seen_field(problem, first), *step_times(problem, first), problem.y0).carry


def replay(problem: Problem, record: Record, y: Tree, carry: Tree) -> Outcome:
    """Do a recorded step again."""
    solver, layout = problem.solver, problem.layout
    field = seen_field(problem, record)
    t0, t1 = step_times(problem, record)
    before, y = y, layout.lend(record.accepted, y)
    state = State(carry, solver.init(field, t0, layout.rows(problem.span.end), y).cache)
    whole = record.rows is not None or problem.integral_loss is not None or problem.dense
    step = (solver.step if whole else solver.advance)(field, t0, t1, y, state)
    observed = observe(problem, record, field, t0, t1, y, step)
    if layout.shared:
        return Outcome(step.y, step.state.carry, observed)
    y1 = layout.select(record.accepted, step.y, before)
    carry1 = layout.select(record.accepted, step.state.carry, carry) if carry is not None else None
    return Outcome(y1, carry1, observed)


def _reports(problem: Problem, rows: Rows, t0: Tensor, t1: Tensor, y0: Tree, y1: Tree, dense: Tree) -> Tree:
    ts = problem.ts
    if rows.report is None:
        times = ts[rows.first : rows.last]

        def front(leaf: Tensor) -> Tensor:
            return leaf.unsqueeze(0)

        parts = (tree_map(front, tree) for tree in (y0, y1, dense))
        values = reported(problem, times, t0.expand_as(times), t1.expand_as(times), *parts)
        return values if problem.save is None else saved(problem, times, values)

    def gather(leaf: Tensor) -> Tensor:
        return leaf[rows.row]

    parts = (tree_map(gather, tree) for tree in (y0, y1, dense))
    return reported(problem, ts[rows.report, rows.sample], t0[rows.row], t1[rows.row], *parts)


def reported(problem: Problem, times: Tensor, t0: Tensor, t1: Tensor, y0: Tree, y1: Tree, dense: Tree) -> Tree:
    """States at report times, `(M,)`, each in a step of its own from `t0` to `t1`, in front of all trees."""
    theta = (times - t0) / (t1 - t0)
    values = problem.solver.interpolate(theta, t0, t1, y0, y1, dense)
    if problem.ts.requires_grad:
        return values
    # the end of a step is its last state, bit for bit
    return tree_map(lambda value, end: torch.where(align(theta == 1.0, value), end, value), values, y1)


def saved(problem: Problem, times: Tensor, states: Tree) -> Tree:
    """What `save` makes of states at times, `(M,)`, where steps are shared."""
    assert problem.save is not None
    rows = [tree_map(lambda leaf, i=i: leaf[i], states) for i in range(len(times))]
    made = [problem.save(field_time(t, y), y) for t, y in zip(times.unbind(), rows, strict=True)]
    return tree_map(lambda *parts: torch.stack(parts), made[0], *made[1:])


def _quadrature(problem: Problem, record: Record, t0: Tensor, t1: Tensor, y0: Tree, y1: Tree, dense: Tree) -> Tree:
    """Gauss-Legendre quadrature of the running loss on the step's dense output."""
    loss, layout = problem.integral_loss, problem.layout
    assert loss is not None
    total: Tree = None
    for node, weight in zip(*(_GAUSS_3 if problem.solver.dense_order <= 4 else _GAUSS_5), strict=True):
        theta = torch.full_like(t0, node)
        state = problem.solver.interpolate(theta, t0, t1, y0, y1, dense)
        value = loss(field_time(torch.lerp(t0, t1, theta), y0), state)
        for leaf in leaves(value):
            if not layout.shared and (leaf.dim() == 0 or leaf.shape[0] != t0.shape[0]):
                raise ShapeError(
                    f"integral_loss returned shape {tuple(leaf.shape)}; wanted a leading axis of {t0.shape[0]}: with "
                    "steps per sample each row has its own integral"
                )
        term = tree_map(_weigh(weight * (t1 - t0)), value)
        total = term if total is None else tree_map(torch.add, total, term)
    if layout.shared:
        return total
    return layout.select(record.accepted, total, tree_map(torch.zeros_like, total))


def _weigh(dt: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda leaf: align(dt, leaf).to(real_dtype(leaf)) * leaf
