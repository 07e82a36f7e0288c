"""Checks of what several parts are given."""

from __future__ import annotations

import math
import numbers
import operator

from torch import Tensor, nn

from torchdyn_core import IncompatibleError, OptionError, ShapeError

__all__ = ["checked_axis", "checked_count", "checked_layer", "checked_number"]


def checked_count(name: str, value: int) -> int:
    """A whole number of at least 1.

    Raises:
        OptionError: If it is anything else.
    """
    try:
        count = 0 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        count = 0
    if count < 1:
        raise OptionError(f"{name}={value!r}; wanted a whole number >= 1")
    return count


def checked_number(name: str, value: float) -> float:
    """A finite number.

    Raises:
        OptionError: If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise OptionError(f"{name}={value!r}; wanted a finite number")
    return float(value)


def checked_layer(name: str, layer: object) -> nn.Module:
    """A layer, made.

    Raises:
        IncompatibleError: If it is anything else, a class of layers among it.
    """
    if not isinstance(layer, nn.Module):
        got = f"the class {layer.__name__}: call it" if isinstance(layer, type) else repr(layer)
        raise IncompatibleError(f"{name} is {got}; wanted a torch.nn.Module")
    return layer


def checked_axis(owner: object, y: Tensor, axis: int) -> int:
    """The axis, counted from the front, that a state's features lie on.

    Raises:
        OptionError: If the axis is no whole number.
        ShapeError: If the state is no tensor or has no such axis.
    """
    name = type(owner).__name__
    if not isinstance(y, Tensor):
        raise ShapeError(f"{name} got a state that is a {type(y).__name__}; wanted a tensor")
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise OptionError(f"axis={axis!r}; wanted a whole number")
    if not -y.dim() <= axis < y.dim():
        raise ShapeError(
            f"{name} got a state of shape {tuple(y.shape)}, which has no axis {axis}; wanted (N, features) or "
            "(N, channels, H, W), or axis=-1 for a single vector"
        )
    return axis % y.dim()
