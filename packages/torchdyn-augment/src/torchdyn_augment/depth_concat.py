"""Fields that see the time as one more feature."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchdyn_augment.checks import checked_axis
from torchdyn_augment.wrapper import WrappedField
from torchdyn_core import ShapeError
from torchdyn_core.tree import Tree

__all__ = ["DepthConcat"]


class DepthConcat(WrappedField):
    """A field that sees the time as one more feature, or channel: `f(t, [y, t])`.

    Arguments:
        field: Takes `(t, [y, t])` and returns the slope of `y`: a network lifted by `autonomous`.
        axis: Where the feature is added: 1 for `(N, features)` and for images, -1 for vectors with any number of axes
            in front.

    Shapes:
        y: `(N, C, *)`; the inner field sees `(N, C + 1, *)`.  t: `()`, or one for each row.

    Raises:
        ShapeError: If the state is no tensor or has no such axis, or times are not those of its rows.

    References:
        Chen, Rubanova, Bettencourt, Duvenaud (2018), Neural ordinary differential equations. arXiv 1806.07366

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE, autonomous
        >>> from torchdyn_augment import DepthConcat
        >>> NeuralODE(DepthConcat(autonomous(torch.nn.Linear(3, 2))))(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(self, field: Callable[..., Tree], *, axis: int = 1) -> None:
        super().__init__(field)
        self.axis = axis

    def seen(self, t: Tensor, y: Tensor) -> Tensor:
        axis = checked_axis(self, y, self.axis)
        if t.dim() and (t.numel() != y.shape[0] or axis == 0):
            raise ShapeError(
                f"DepthConcat got times {tuple(t.shape)} for a state {tuple(y.shape)} with features on axis {axis}; "
                "wanted one time, or one for each row, and features on another axis than the rows"
            )
        t = t.reshape(t.shape + (1,) * (y.dim() - t.dim())) if t.dim() else t
        feature = t.to(y.dtype).expand(*y.shape[:axis], 1, *y.shape[axis + 1 :])
        return torch.cat((y, feature), axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
