"""Vectors of a few numbers as small loops put them together: each entry chosen by its place, no room made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["DECOMPOSITIONS", "stack"]

MOST = 16
"""Numbers of a vector that is put together so."""


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """A vector of numbers, `(N,)`; what is no vector of numbers is stacked as ever.

    A compiler makes room for a stack first, and a view of that room for each number to be written through. A choice by
    place is an operator like others, which it computes where the vector is used.

    Arguments:
        tensors: `N` numbers, `()`, of one dtype.
        dim: The axis that they are put along.

    Returns:
        `(N,)`; or NotImplemented, which tells a tracer to leave the stack alone.

    Example:
        >>> import torch
        >>> stack([torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)]).tolist()
        [1.0, 2.0, 3.0]
    """
    alike = {tensor.dtype for tensor in tensors}
    if len(alike) > 1 or not alike <= {torch.float32, torch.float64, torch.int64} or not 1 < len(tensors) <= MOST:
        return NotImplemented
    if any(tensor.dim() for tensor in tensors):
        return NotImplemented
    place = torch.arange(len(tensors), device=tensors[0].device)
    value = tensors[-1]
    for index in reversed(range(len(tensors) - 1)):
        value = torch.where(place == index, tensors[index], value)
    return value


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {torch.ops.aten.stack.default: stack}
"""What operators are replaced by while a small loop is traced."""
