"""One set of formulas for times and errors held as Python numbers or as tensors.

With shared steps an eager solve keeps its time, step size and error as Python floats, which costs nanoseconds; with
steps per sample they are float64 tensors of shape `(B,)`. A step-size controller is written once, in these functions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Scalar = Any
"""A Python float, or a float64 tensor of shape `(B,)`."""

Flag = Any
"""A Python bool, or a bool tensor of shape `(B,)`."""

__all__ = ["Flag", "Scalar", "absolute", "is_finite", "maximum", "minimum", "negate", "power", "where"]


def where(flag: Flag, a: Scalar, b: Scalar) -> Scalar:
    """`a` where the flag holds, else `b`."""
    if not isinstance(flag, Tensor):
        return a if flag else b
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        a = torch.full(flag.shape, a, dtype=torch.float64, device=flag.device)  # two numbers would give float32
    return torch.where(flag, a, b)


def minimum(a: Scalar, b: Scalar) -> Scalar:
    """The smaller one; NaN in `a` gives `b` for floats, NaN for tensors: test for finiteness before."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.minimum(*_tensors(a, b))
    return a if a < b else b


def maximum(a: Scalar, b: Scalar) -> Scalar:
    """The larger one."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return torch.maximum(*_tensors(a, b))
    return a if a > b else b


def absolute(a: Scalar) -> Scalar:
    """The absolute value."""
    return abs(a)


def negate(flag: Flag) -> Flag:
    """Logical not (`~` of a Python bool is an integer)."""
    return ~flag if isinstance(flag, Tensor) else not flag


def is_finite(a: Scalar) -> Flag:
    """Whether neither NaN nor infinite."""
    return torch.isfinite(a) if isinstance(a, Tensor) else math.isfinite(a)


def power(base: Scalar, exponent: float) -> Scalar:
    """`base ** exponent` for positive bases.

    Through exp and log, since torch's vectorised `pow` rounds differently in the tail of a vector: a sample would take
    other steps alone than in a batch.
    """
    if isinstance(base, Tensor):
        return torch.exp(torch.log(base) * exponent)
    return math.exp(math.log(base) * exponent) if base > 0.0 else (0.0 if exponent > 0 else math.inf)


def _tensors(a: Scalar, b: Scalar) -> tuple[Tensor, Tensor]:
    if not isinstance(a, Tensor):
        a = torch.full_like(b, a)
    if not isinstance(b, Tensor):
        b = torch.full_like(a, b)
    return a, b
