"""Steps asked one by one, and what came of them: what the tests of solvers share."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from torchdyn_core.binding import BoundField
from torchdyn_core.solution import Solution
from torchdyn_core.solve import solve
from torchdyn_core.solver import Solver, Step
from torchdyn_core.testing.problems import Problem
from torchdyn_core.tree import Tree, leaves, tree_map

DTYPE = torch.float64
STEPS = 24  # enough for every explicit method to be stable on the default problem


def in_double(solver: Solver) -> Solver:
    """The solver as the problems take it: one that has parameters has them in float64."""
    return solver.double() if isinstance(solver, nn.Module) else solver


def parameters(thing: Any) -> list[Tensor]:
    """What of a field or a solver is learnt."""
    return [p for p in thing.parameters() if p.requires_grad] if isinstance(thing, nn.Module) else []


def skip_unless(capable: bool, solver: Solver, lack: str) -> None:
    """Skip the test of what the solver does not claim."""
    if not capable:
        pytest.skip(f"{type(solver).__name__} {lack}")


def times(problem: Problem, dt: float) -> tuple[Tensor, Tensor]:
    """A step of this size, somewhere inside the span."""
    sign = 1.0 if problem.t1 > problem.t0 else -1.0
    start = problem.t0 + 0.15 * (problem.t1 - problem.t0)
    return torch.tensor(start, dtype=DTYPE), torch.tensor(start + sign * dt, dtype=DTYPE)


def reports(problem: Problem) -> Tensor:
    """The ends, and a time between two steps."""
    return torch.tensor([problem.t0, problem.t0 + 0.37 * (problem.t1 - problem.t0), problem.t1], dtype=DTYPE)


def ask(solver: Solver, bound: BoundField, t0: Tensor, t1: Tensor, y: Tree) -> Step:
    """A first step."""
    return solver.step(bound, t0, t1, y, solver.init(bound, t0, t1, y))


def one_step(solver: Solver, problem: Problem, dt: float) -> tuple[Tensor, Tensor, Tree, Step]:
    """Where a step began and ended, the solution there, and the step."""
    t0, t1 = times(problem, dt)
    y0 = problem.at(t0)
    with torch.no_grad():
        return t0, t1, y0, ask(solver, BoundField(problem.field), t0, t1, y0)


def interpolated(
    solver: Solver, bound: BoundField, theta: Tensor, t0: Tensor, t1: Tensor, y0: Tree, step: Step
) -> Tree:
    """Dense output at fractions of a step, `(K,)`, which become the leading axis."""
    with torch.no_grad():
        dense = solver.extend(bound, t0, t1, y0, step)
        front = [tree_map(lambda leaf: leaf.unsqueeze(0), part) for part in (y0, step.y, dense)]
        return solver.interpolate(theta, t0.expand_as(theta), t1.expand_as(theta), *front)


def solved(
    solver: Solver, problem: Problem, controller: Any, y0: Tree = None, ts: Any = None, **options: Any
) -> Solution:
    """The problem from its start to its end."""
    ts = torch.tensor([problem.t0, problem.t1], dtype=DTYPE) if ts is None else ts
    start = problem.y0 if y0 is None else y0
    return solve(problem.field, start, ts, solver=solver, controller=controller, **options)


def last(solution: Solution) -> Tree:
    """The last report."""
    return tree_map(lambda leaf: leaf[-1], solution.ys)


def difference(a: Tree, b: Tree) -> Tree:
    """Leaf by leaf."""
    return tree_map(torch.sub, a, b)


def rms(tree: Tree) -> float:
    """Root mean square over all entries."""
    parts = leaves(tree)
    total = sum(float(part.detach().abs().square().sum()) for part in parts)
    return math.sqrt(total / sum(part.numel() for part in parts))


def parts_of(step: Step) -> list[Tensor]:
    """All tensors that a step gives back."""
    return [leaf for part in (step.y, step.error, step.state, step.dense) for leaf in leaves(part)]


def holdings(thing: Any, known: dict[int, Any]) -> list[Any]:
    """What an object holds, taken apart: equal at two times if nothing was written to it in between.

    Arguments:
        thing: A solver, or what was found in one.
        known: What was met on the way, kept alive so that no other object gets the identity of one that is gone.
    """
    if thing is None or isinstance(thing, (bool, int, float, complex, str, bytes)):
        return [thing]
    if id(thing) in known:
        return [id(thing)]
    known[id(thing)] = thing
    inner: list[Any] = []
    if isinstance(thing, Tensor):
        inner = [thing._version]
    elif isinstance(thing, dict):
        inner = [*thing, *thing.values()]
    elif isinstance(thing, (list, tuple, set, frozenset)):
        inner = list(thing)
    elif hasattr(thing, "__dict__") and not isinstance(thing, (type, ModuleType)):
        inner = [vars(thing)]
    return [type(thing), id(thing), *(held for part in inner for held in holdings(part, known))]
