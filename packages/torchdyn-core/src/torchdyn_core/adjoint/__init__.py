"""Adjoints: how gradients pass through a solve."""

from torchdyn_core.adjoint.backsolve import Backsolve
from torchdyn_core.adjoint.base import Adjoint
from torchdyn_core.adjoint.checkpointed import Checkpointed
from torchdyn_core.adjoint.direct import Direct

__all__ = ["Adjoint", "Backsolve", "Checkpointed", "Direct"]
