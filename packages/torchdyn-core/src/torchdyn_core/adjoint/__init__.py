"""Adjoints: how gradients pass through a solve."""

from torchdyn_core.adjoint.backsolve import Backsolve
from torchdyn_core.adjoint.base import Adjoint
from torchdyn_core.adjoint.checkpointed import Checkpointed
from torchdyn_core.adjoint.direct import Direct
from torchdyn_core.adjoint.reversible import Reversible

__all__ = ["Adjoint", "Backsolve", "Checkpointed", "Direct", "Reversible"]
