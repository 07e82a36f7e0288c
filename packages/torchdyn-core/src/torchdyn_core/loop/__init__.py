"""The stepping loop: one pure body, and the drivers that repeat it."""

from torchdyn_core.loop.driver import Driver, Eager
from torchdyn_core.loop.eager import Tape, run
from torchdyn_core.loop.problem import Outputs, Problem, Record, Trajectory
from torchdyn_core.loop.transition import Outcome, replay

__all__ = ["Driver", "Eager", "Outcome", "Outputs", "Problem", "Record", "Tape", "Trajectory", "replay", "run"]
