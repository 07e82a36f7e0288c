"""Drivers: who repeats the loop's body."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torchdyn_core.loop.eager import Tape, run
from torchdyn_core.loop.problem import Problem, Trajectory

__all__ = ["Driver", "Eager"]


class Driver(ABC):
    """Runs the loop for an adjoint; what an adjoint is handed."""

    @abstractmethod
    def __call__(self, problem: Problem, tape: Tape | None = None) -> Trajectory:
        """Integrate a problem; `tape` is told of every accepted step."""

    def checkpointed(self, problem: Problem, memory: int | None) -> Trajectory | None:
        """A run with the checkpointed gradient of its own, where the driver has one; else None: steps are replayed."""
        return None


class Eager(Driver):
    """A Python `while` around the body."""

    def __call__(self, problem: Problem, tape: Tape | None = None) -> Trajectory:
        return run(problem, tape)
