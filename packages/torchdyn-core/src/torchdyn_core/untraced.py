"""What a solve calls while a compiler traces it, and what the compiler does not look into.

Imported by solves that are traced alone: it brings in torch's compilers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import guard_scalar

from torchdyn_core.registry import configured

__all__ = ["apart", "constant", "named"]


@torch.compiler.disable(  # type: ignore[untyped-decorator]
    reason="its steps depend on values, or it has a loop or a gradient of its own: docs/performance.md of torchdyn"
)
def apart(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function outside of the graph: one break, and nothing that it calls is traced."""
    return function(*args, **kwargs)


def constant(number: float) -> float:
    """A number as a constant that is guarded: Dynamo makes a symbol of one that has changed, and steps need numbers."""
    return guard_scalar(number)


class _Components:
    """Components by kind and name, as attributes: Dynamo reads a dict whole, before another name is looked up."""


_found = _Components()


def named(kind: str, part: Any) -> Any:
    """A component by its name: how it is found stays out of the trace, what is found is a part of it."""
    if not isinstance(part, str):
        return part
    _find(kind, part)
    found = getattr(_found, f"{kind} {part}")
    if isinstance(found, Exception):
        raise type(found)(*found.args)  # Dynamo follows an exception only from where it is made
    return found


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _find(kind: str, name: str) -> None:
    if isinstance(getattr(_found, f"{kind} {name}", Exception()), Exception):
        try:
            setattr(_found, f"{kind} {name}", configured(kind, name))
        except Exception as error:  # raised where it is asked for, or Dynamo would call it a fault of its own
            setattr(_found, f"{kind} {name}", error.with_traceback(None))
