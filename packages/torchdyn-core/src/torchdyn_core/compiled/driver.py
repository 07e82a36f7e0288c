"""The driver that compiles, and what it does where that cannot be done."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.compiled import checkpointed, run
from torchdyn_core.compiled.body import Task
from torchdyn_core.compiled.capture import configuration, refuse, refused
from torchdyn_core.compiled.reason import distrust, distrusted, explained
from torchdyn_core.compiled.tape import rows_for
from torchdyn_core.compiled.trust import Differs, Miscompiled
from torchdyn_core.errors import GradientError, IncompatibleError, ShapeError, TorchdynError, warn_once
from torchdyn_core.leaves import unknown
from torchdyn_core.loop.driver import Driver, Eager
from torchdyn_core.loop.eager import Tape
from torchdyn_core.loop.problem import Problem, Trajectory

__all__ = ["Compiled", "entries", "is_tested"]

TESTED = ("2.13",)
"""Releases of torch that compiled solves are tested with."""

_count = threading.local()


def is_tested() -> bool:
    """Whether compiled solves are tested with this release of torch.

    Example:
        >>> from torchdyn_core.compiled.driver import is_tested
        >>> isinstance(is_tested(), bool)
        True
    """
    return ".".join(torch.__version__.split(".")[:2]) in TESTED


def entries() -> int:
    """How often this thread has entered a compiled loop: what tells a compiled solve from one that fell back.

    Example:
        >>> from torchdyn_core.compiled.driver import entries
        >>> entries() >= 0
        True
    """
    return getattr(_count, "entries", 0)


class Compiled(Driver):
    """Captures a solve and runs it as one compiled loop; eagerly, and saying so once, where it cannot be captured.

    Whatever is run where autograd records carries its checkpointed gradient.

    Arguments:
        require: Raise instead of falling back.
    """

    def __init__(self, *, require: bool) -> None:
        self._require = require

    def __call__(self, problem: Problem, tape: Tape | None = None) -> Trajectory:
        compiled = self._attempt(problem, tape=tape) if _moves(problem) else None
        return Eager()(problem, tape) if compiled is None else compiled

    def checkpointed(self, problem: Problem, memory: int | None) -> Trajectory | None:
        """A compiled solve with its compiled gradient."""
        return self._attempt(problem, memory) if _moves(problem) else None

    def _attempt(self, problem: Problem, memory: int | None = None, tape: Tape | None = None) -> Trajectory | None:
        found = None
        try:
            _check_ground(problem)
            if tape is not None:
                raise IncompatibleError("the adjoint keeps steps on a tape of its own, which compiled loops do not")
            problem.solver.meet(problem.field, problem.layout.rows(problem.span.start), problem.y0)
            task, inputs = run.laid_out(problem)
            found = configuration(task, inputs), task
            if refused(*found) and not self._require:
                return None
            session = run.enter(problem, *found, inputs, rows_for(memory))
            session.require = self._require
            _check_known(session, task)
            trajectory = checkpointed.solved(session, memory)
        except (ShapeError, GradientError):  # bad input is bad input
            raise
        except Exception as error:  # whatever torch's compilers do not take, the eager loop does, or says what is wrong
            reason = explained(error)
            if isinstance(error, Miscompiled):
                distrust(error)
            if self._require:
                if not isinstance(error, TorchdynError):
                    _evaluate(problem)  # what is wrong with the field itself it says in its own words
                raise IncompatibleError(f"compile='require': {reason}") from error
            warn_once(f"compile=True runs eagerly: {reason}")
            if found is not None and (isinstance(error, Differs) or not isinstance(error, TorchdynError)):
                refuse(*found)
            return None
        _count.entries = entries() + session.entries
        return trajectory


def _check_ground(problem: Problem) -> None:
    """Raise where compiled solves have not been tested: their means are prototypes, which change between versions."""
    if not is_tested():
        raise IncompatibleError(f"torch {torch.__version__}; compiled solves are tested with torch {', '.join(TESTED)}")
    if (reason := distrusted()) is not None:
        raise IncompatibleError(reason)
    kind = problem.layout.device.type
    if kind != "cpu":
        raise IncompatibleError(f"the state is on a {kind} device; compiled solves are tested on the CPU")


def _evaluate(problem: Problem) -> None:
    """Evaluate the field once where a solve begins, with all checks."""
    with torch.no_grad():
        problem.field(problem.layout.rows(problem.span.start), problem.y0)


def _check_known(session: run.Session, task: Task) -> None:
    """Raise where a continuous adjoint would lose a gradient; tell it which targets the field uses."""
    if task.adjoint is None:
        return
    known = task.adjoint.known or set()
    for tensor in session.environment:
        if tensor.requires_grad and id(tensor) not in known:
            raise unknown(f"a tensor of shape {tuple(tensor.shape)}")
    task.adjoint.reached.update(session.engine.reached or ())


def _moves(problem: Problem) -> bool:
    """Whether there is anything to step through."""
    moving: Any = problem.span.start != problem.span.end
    return bool(moving.any()) if isinstance(moving, Tensor) else moving
