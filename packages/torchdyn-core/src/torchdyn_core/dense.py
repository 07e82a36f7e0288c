"""Dense output and recorded steps: the solution between and at its steps."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchdyn_core.errors import ShapeError
from torchdyn_core.loop.problem import Problem, Trajectory
from torchdyn_core.loop.transition import step_times
from torchdyn_core.tree import Tree, tree_map

__all__ = ["dense_output", "recorded_steps"]


def dense_output(problem: Problem, trajectory: Trajectory) -> Callable[[Tensor], Tree]:
    """The function behind `Solution.evaluate`."""
    outputs, layout, solver = trajectory.outputs, problem.layout, problem.solver
    y0 = problem.y0
    if not trajectory.records:
        return lambda t: _at_the_start(problem, t)
    times = [step_times(problem, record) for record in trajectory.records]
    begins, ends = (torch.stack([pair[i] for pair in times]) for i in (0, 1))
    after = outputs.steps
    before = tree_map(lambda first, rest: torch.cat([first.unsqueeze(0), rest[:-1]]), y0, after)

    def evaluate(t: Tensor) -> Tree:
        _check_shape(problem, t)
        lone = t.dim() == 0
        t = t.reshape(1) if lone else t
        index, row = _locate(problem, begins.detach(), ends.detach(), t)
        place = (index,) if row is None else (index, row)
        if row is not None:
            t = t[:, None] if t.dim() == 1 else t[:, layout.sample_of_row()]
            t = t.expand(index.shape)
        start, stop = begins[place], ends[place]
        length = stop - start
        theta = torch.where(length == 0, torch.zeros_like(t), (t - start) / torch.where(length == 0, 1.0, length))
        value = solver.interpolate(
            theta, start, stop, *(tree_map(lambda leaf: leaf[place], tree) for tree in (before, after, outputs.dense))
        )
        return tree_map(lambda leaf: leaf[0], value) if lone else value

    return evaluate


def _check_shape(problem: Problem, t: Tensor) -> None:
    shared = problem.layout.shared
    if t.dim() > (1 if shared else 2):
        raise ShapeError(f"t has shape {tuple(t.shape)}; wanted {'() or (M,)' if shared else '(), (M,) or (M, B)'}")


def _at_the_start(problem: Problem, t: Tensor) -> Tree:
    """The state of a solve that took no step: it is known at the first time alone."""
    _check_shape(problem, t)
    start = problem.ts.detach()[0]
    _check_inside(t.detach(), start, start, t)
    return tree_map(lambda leaf: leaf.expand(*t.shape[:1], *leaf.shape), problem.y0)


def _locate(problem: Problem, begins: Tensor, ends: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
    """The step that each time falls into, `(M,)`, or `(M, R)` and the rows."""
    layout, span = problem.layout, problem.span
    if layout.shared:
        directed = span.direction * t.detach()
        low, high = span.direction * begins[0], span.direction * ends[-1]
        _check_inside(directed, low, high, t)
        return torch.searchsorted(span.direction * ends, directed).clamp(max=len(ends) - 1), None
    direction = layout.rows(span.direction)
    wanted = t.detach()
    if wanted.dim() == 1:
        wanted = wanted[:, None].expand(-1, len(direction))
    else:
        if wanted.shape[1] != layout.samples:
            raise ShapeError(f"t has shape {tuple(t.shape)}; wanted (M, {layout.samples}), a column for each sample")
        wanted = wanted[:, layout.sample_of_row()]
    directed = direction * wanted
    _check_inside(directed, direction * begins[0], direction * ends[-1], t)
    index = torch.searchsorted((direction * ends).T.contiguous(), directed.T.contiguous()).T.clamp(max=len(ends) - 1)
    row = torch.arange(len(direction), device=t.device).expand_as(index)
    # a row that stood still in a step has no slope there: the next step that moved it begins at the same time
    moving = begins != ends
    place = torch.arange(len(ends), device=t.device)[:, None]
    following = torch.where(moving, place, len(ends)).flip(0).cummin(0).values.flip(0)
    after = following[index, row]
    return torch.where(after < len(ends), after, index), row


def _check_inside(directed: Tensor, low: Tensor, high: Tensor, t: Tensor) -> None:
    if not bool(((directed >= low) & (directed <= high)).all()):
        raise ShapeError(
            f"t reaches from {float(t.min()):g} to {float(t.max()):g}; wanted times within the span that was solved"
        )


def recorded_steps(problem: Problem, trajectory: Trajectory) -> tuple[Tensor, Tree]:
    """Times and states of all accepted steps, the start included; samples with fewer repeat their last one."""
    layout, records, outputs = problem.layout, trajectory.records, trajectory.outputs
    start = layout.rows(problem.span.start)
    y0 = problem.y0
    if not records:
        return start.unsqueeze(0), tree_map(lambda leaf: leaf.unsqueeze(0), y0)
    ends = torch.stack([step_times(problem, record)[1] for record in records])
    if layout.shared:
        times = torch.cat([step_times(problem, records[0])[0].unsqueeze(0), ends])
        return times, tree_map(lambda first, rest: torch.cat([first.unsqueeze(0), rest]), y0, outputs.steps)
    accepted = torch.stack([layout.rows(record.accepted) for record in records])
    order = accepted.long().cumsum(0)
    most = int(order[-1].max()) if order.numel() else 0
    step, row = torch.nonzero(accepted, as_tuple=True)
    place = (order[step, row] - 1, row)

    def compress(first: Tensor, rest: Tensor, last: Tensor) -> Tensor:
        out = last.unsqueeze(0).expand(most, *last.shape).index_put(place, rest[step, row])
        return torch.cat([first.unsqueeze(0), out])

    times = compress(start, ends, layout.rows(trajectory.t))
    return times, tree_map(compress, y0, outputs.steps, outputs.y)
