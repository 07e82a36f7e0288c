"""Step-size controllers."""

from torchdyn_core.controller.contract import Span, StepController
from torchdyn_core.controller.fixed import Fixed
from torchdyn_core.controller.pid import PID

__all__ = ["PID", "Fixed", "Span", "StepController"]
