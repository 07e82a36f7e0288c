"""The problems that a solver is tried on."""

from __future__ import annotations

import pytest

from torchdyn_core.field import VectorField
from torchdyn_core.solver import Solver
from torchdyn_core.testing.problems import Problem, complex_rotation, rotation, tree_rotation
from torchdyn_core.testing.suite import Suite

__all__ = ["ProblemSuite", "or_skip"]


class ProblemSuite(Suite[Solver], suite=True):
    """What the suites for solvers share: the problems, to be filled in for solvers of a field class of their own."""

    def problem(self) -> Problem:
        """A smooth problem in float64 with a solution in closed form; rows of the state do not know each other."""
        return rotation()

    def complex_problem(self) -> Problem | None:
        """The same with a complex state; None where the solver takes none."""
        return complex_rotation() if _is_general(self.make()) else None

    def tree_problem(self) -> Problem | None:
        """The same with a tree for a state; None where the solver takes none."""
        return tree_rotation() if _is_general(self.make()) else None


def _is_general(solver: Solver) -> bool:
    accepts = solver.accepts
    return VectorField in (accepts if isinstance(accepts, tuple) else (accepts,))


def or_skip(suite: ProblemSuite, problem: Problem | None, what: str) -> Problem:
    """The problem, or a skipped test where the suite gives none."""
    if problem is None:
        pytest.skip(f"{type(suite).__name__} gives no problem with {what}")
    return problem
