"""Checks of what several parts are given."""

from __future__ import annotations

from torch import Tensor

from torchdyn_core import OptionError, ShapeError

__all__ = ["checked_axis", "checked_count"]


def checked_count(name: str, value: int) -> int:
    """A whole number of at least 1.

    Raises:
        OptionError: If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise OptionError(f"{name}={value!r}; wanted a whole number >= 1")
    return value


def checked_axis(owner: object, y: Tensor, axis: int) -> int:
    """The axis, counted from the front, that a state's features lie on.

    Raises:
        ShapeError: If the state is no tensor or has no such axis.
    """
    name = type(owner).__name__
    if not isinstance(y, Tensor):
        raise ShapeError(f"{name} got a state that is a {type(y).__name__}; wanted a tensor")
    if not -y.dim() <= axis < y.dim():
        raise ShapeError(
            f"{name} got a state of shape {tuple(y.shape)}, which has no axis {axis}; wanted (N, features) or "
            "(N, channels, H, W), or axis=-1 for a single vector"
        )
    return axis % y.dim()
