"""Equations of higher order as systems of first order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from torchdyn_augment.checks import checked_axis, checked_count
from torchdyn_augment.wrapper import WrappedField
from torchdyn_core import ShapeError
from torchdyn_core.tree import Tree

__all__ = ["HigherOrder"]


class HigherOrder(WrappedField):
    """A field of which only the highest derivative is learned: `x'' = f(t, [x, x'])` and so on.

    The state holds position and all lower derivatives, one behind the other; their slopes are their neighbours.

    Arguments:
        field: Gives the highest derivative, `f(t, y) -> (N, C / order, *)` of the whole state.
        order: Of the equation.
        axis: Where positions and derivatives lie: 1 for `(N, features)` and for images, -1 for vectors with any number
            of axes in front.

    Shapes:
        y: `(N, C, *)`, with `C` a multiple of the order: `[x, x', ...]`.

    Raises:
        OptionError: If the order is no whole number of at least 1.
        ShapeError: If it does not divide the state, or the inner field returns anything but the highest derivative.

    References:
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 4. arXiv 2002.08071

    Example:
        >>> import math, torch
        >>> from torchdyn_core import solve
        >>> from torchdyn_augment import HigherOrder
        >>> spring = HigherOrder(lambda t, y: -y[:, :1], order=2)
        >>> solve(spring, torch.tensor([[1.0, 0.0]]), [0.0, math.pi]).ys[-1].round(decimals=2)
        tensor([[-1., ...]])
    """

    def __init__(self, field: Callable[..., Tree], order: int = 2, *, axis: int = 1) -> None:
        super().__init__(field)
        self.order, self.axis = checked_count("order", order), axis

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        """The derivatives, moved up by one, and the highest one."""
        axis = checked_axis(self, y, self.axis)
        if y.shape[axis] % self.order:
            raise ShapeError(
                f"the state has {y.shape[axis]} dimensions on axis {axis}; wanted a multiple of the order, {self.order}"
            )
        part = y.shape[axis] // self.order
        highest = self.field(t, y, *args)
        lower = y.narrow(axis, part, y.shape[axis] - part)
        wanted = (*y.shape[:axis], part, *y.shape[axis + 1 :])
        if not isinstance(highest, Tensor) or highest.shape != wanted:
            got = tuple(highest.shape) if isinstance(highest, Tensor) else type(highest).__name__
            raise ShapeError(
                f"the inner field returned {got} for a state {tuple(y.shape)}; wanted the highest derivative alone, "
                f"{wanted}"
            )
        return torch.cat((lower, highest), axis)

    def extra_repr(self) -> str:
        return f"order={self.order}, axis={self.axis}"
