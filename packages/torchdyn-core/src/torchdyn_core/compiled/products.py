"""Products of matrices as compiled kernels evaluate them: narrow ones written out, to be fused with their neighbours.

A network's first layer takes a state of a few variables and its last layer gives one, and so it is with the gradients
of their weights. Such a product is hardly any arithmetic; a library's routine takes microseconds to set it up, and what
is around it has to be written to memory for it.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.compiled.wide_products import is_wide, product

__all__ = ["DECOMPOSITIONS", "NARROW", "addmm", "mm"]

NARROW = 4
"""Longest axis that is written out."""


def mm(a: Tensor, b: Tensor) -> Any:
    """The product of two matrices: written out where an axis is narrow, by oneDNN where that is faster, else as it is.

    Arguments:
        a: `(M, K)`.
        b: `(K, N)`.

    Returns:
        `(M, N)`; for products that stay, such as those in dtypes that a library sums in a wider one, NotImplemented,
        which tells a tracer to leave the product alone.

    Example:
        >>> import torch
        >>> mm(torch.eye(2), torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])).tolist()
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    """
    if not {a.dtype, b.dtype} <= {torch.float32, torch.float64}:
        return NotImplemented
    if is_wide(a, b):
        return product(a, b)
    if _narrow(b.shape[1]):
        # a sum over rows, for each column: here routines take a third of the time the other way round
        if a.stride(0) < a.stride(1) and not any(map(_narrow, a.shape)):
            return torch.mm(b.t(), a.t()).t().clone(memory_format=torch.contiguous_format)
        return torch.stack([_times(a, b.select(1, column)) for column in range(b.shape[1])], 1)
    if _narrow(a.shape[1]):
        outer = (a.select(1, k).unsqueeze(1) * b.select(0, k) for k in range(a.shape[1]))
        return functools.reduce(operator.add, outer)
    return NotImplemented


def addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """`bias + a @ b`, as `mm` has it.

    Arguments:
        bias: `(N,)` or `(M, N)`.
        a: `(M, K)`.
        b: `(K, N)`.
        beta: Factor of `bias`; only 1 is written out.
        alpha: Factor of the product, likewise.

    Example:
        >>> import torch
        >>> addmm(torch.ones(2), torch.eye(2), torch.eye(2)).tolist()
        [[2.0, 1.0], [1.0, 2.0]]
    """
    found = mm(a, b) if beta == 1 and alpha == 1 else NotImplemented
    return found if found is NotImplemented else found + bias


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """`(M, K)` times `(K,)`."""
    if _narrow(matrix.shape[1]):
        terms = (matrix.select(1, k) * vector.select(0, k) for k in range(matrix.shape[1]))
        return functools.reduce(operator.add, terms)
    return (matrix * vector).sum(1)


def _narrow(size: Any) -> bool:
    return isinstance(size, int) and 1 <= size <= NARROW


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.mm.default: mm,
    torch.ops.aten.addmm.default: addmm,
}
"""What operators are replaced by while a kernel is traced."""
