"""A solve inside a model that somebody else compiles or exports: what becomes a part of the model's graph.

Steps that are known in advance can be unrolled: the eager loop runs while it is traced, and what it does to tensors is
the graph. Whatever depends on values, which no tensor has while it is traced, runs outside of the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from torchdyn_core.adjoint import Adjoint
from torchdyn_core.controller import StepController
from torchdyn_core.errors import IncompatibleError
from torchdyn_core.field import VectorField
from torchdyn_core.solution import Final

__all__ = ["breaks", "must_break", "numbers", "runs_apart", "tracing"]


def tracing() -> bool:
    """Whether a compiler traces this very call.

    The flags behind `torch.compiler.is_compiling` and `is_exporting` are those of the process: while one thread
    compiles, they hold in all of them, and an eager solve there would lose its checks. Dispatch modes, which an export
    traces with, are a thread's own.
    """
    return torch.compiler.is_dynamo_compiling() or (
        torch.compiler.is_exporting() and torch._C._len_torch_dispatch_stack() > 0
    )


def breaks() -> bool:
    """Whether a compiler traces this very call that takes it where its graph breaks; an exported graph cannot."""
    return torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting()


def numbers(ts: Any) -> bool:
    """Whether report times are numbers: values that are known while tensors have none."""
    return isinstance(ts, (tuple, list)) and all(isinstance(t, (int, float)) for t in ts)


def must_break(field: Any, options: Mapping[str, Any]) -> bool:
    """Whether a solve with these options runs outside of the graph of any compiled model."""
    return bool(_depends_on_values(field, options)) or _has_means_of_its_own(options)


def runs_apart(field: Any, y0: Any, ts: Any, options: Mapping[str, Any]) -> bool:
    """Whether a solve that is traced has to run outside of the graph.

    Raises:
        IncompatibleError: If it has to and cannot, since the model is exported.
    """
    reason = _depends_on_values(field, options)
    if not numbers(ts):
        reason = "ts is no list of numbers; wanted ts=[0.0, 0.5, 1.0]"
    if isinstance(y0, Final):
        reason = "y0 is where another solve stopped; wanted y0.y"
    if not torch.compiler.is_exporting():
        return bool(reason) or _has_means_of_its_own(options)
    if not reason and options["compile"] == "require":
        reason = "compile='require' has a loop of its own; wanted compile=False, or True, which is left aside"
    if reason:
        raise IncompatibleError(f"torch.export unrolls solves whose steps are known in advance, but {reason}")
    return False


def _depends_on_values(field: Any, options: Mapping[str, Any]) -> str:
    """What in a solve looks at values, and what to do; empty where nothing does."""
    controller = options["controller"]
    if not isinstance(controller, StepController) or controller.adaptive:
        return "step sizes follow from errors; wanted controller=Fixed(...)"
    if options["per_sample"] is not False:
        return "each sample has its own steps; wanted per_sample=False"
    if controller.jump_ts is not None or (
        isinstance(field, VectorField) and type(field).breakpoints is not VectorField.breakpoints
    ):
        return "steps end at jumps, which are tensors; wanted a field and a controller without any"
    for switch in ("dense", "progress"):
        if options[switch]:
            return f"{switch}=True; wanted {switch}=False"
    return ""


def _has_means_of_its_own(options: Mapping[str, Any]) -> bool:
    """Whether a compiled loop was asked for, or a gradient that is not autograd's through the steps."""
    adjoint = options["adjoint"]
    unrolls = adjoint.unrolls if isinstance(adjoint, Adjoint) else adjoint in ("checkpointed", "direct")
    return options["compile"] is not False or not unrolls
