"""The driver that compiles, and what it does where that cannot be done."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.compiled import checkpointed, run
from torchdyn_core.compiled.capture import configuration
from torchdyn_core.errors import IncompatibleError, TorchdynError, warn_once
from torchdyn_core.loop.driver import Driver, Eager
from torchdyn_core.loop.eager import Tape
from torchdyn_core.loop.problem import Problem, Trajectory

__all__ = ["Compiled", "entries"]

_count = threading.local()
_refused: set[object] = set()
"""Configurations that could not be compiled: they are not tried again, since that takes a second each time."""


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

    Arguments:
        require: Raise instead of falling back.
    """

    def __init__(self, *, require: bool) -> None:
        self._require = require

    def __call__(self, problem: Problem, tape: Tape | None = None) -> Trajectory:
        return Eager()(problem, tape)

    def checkpointed(self, problem: Problem, memory: int | None) -> Trajectory | None:
        """A compiled solve with its compiled gradient."""
        return self._attempt(problem, memory) if _moves(problem) else None

    def _attempt(self, problem: Problem, memory: int | None = None) -> Trajectory | None:
        key = None
        try:
            task, inputs = run.laid_out(problem)
            key = configuration(task, inputs)
            if key in _refused and not self._require:
                return None
            session = run.enter(problem, key, task, inputs)
            trajectory = checkpointed.solved(session, memory)
        except Exception as error:  # whatever torch's compilers do not take, the eager loop does, or says what is wrong
            reason = _reason(error)
            if self._require:
                raise IncompatibleError(f"compile='require': {reason}") from error
            warn_once(f"compile=True runs eagerly: {reason}")
            if key is not None:
                _refused.add(key)
            return None
        _count.entries = entries() + session.entries
        return trajectory


def _moves(problem: Problem) -> bool:
    """Whether there is anything to step through."""
    moving: Any = problem.span.start != problem.span.end
    return bool(moving.any()) if isinstance(moving, Tensor) else moving


def _reason(error: Exception) -> str:
    """One sentence, and the line of the user's code that it is about."""
    inner = getattr(error, "inner_exception", None)  # Dynamo wraps what its backend raises
    if isinstance(inner, Exception):
        return _reason(inner)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    head = (
        lines[0]
        if lines and isinstance(error, (TorchdynError, torch._dynamo.exc.TorchDynamoException))
        else (f"{type(error).__name__}: {lines[0] if lines else ''}")
    )
    explained = next((line.removeprefix("Explanation: ") for line in lines if line.startswith("Explanation: ")), "")
    frames = [line for line in lines if line.startswith("File ") and "torchdyn_core" not in line]
    where = f" ({frames[-1]})" if frames else ""
    return f"{head}. {explained}{where}".strip()
