"""Fields that see where they started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from torchdyn_augment.checks import checked_axis
from torchdyn_augment.wrapper import WrappedField
from torchdyn_core import IncompatibleError
from torchdyn_core.tree import Tree

__all__ = ["DataControlled"]


class DataControlled(WrappedField):
    """A field with the initial state as a control: `f(t, [y, y(t0)])`. A family of fields, one for each datum.

    Arguments:
        field: Takes `(t, [y, y0])`, both on one axis, and returns the slope of `y`.
        detach: Whether to keep gradients from going to the initial state by way of the control.
        axis: Where both lie behind one another: 1 for `(N, features)` and for images, -1 for vectors with any number of
            axes in front.

    Shapes:
        y: `(N, C, *)`; the inner field sees `(N, 2 C, *)`.

    Raises:
        IncompatibleError: If it is evaluated where no solve has begun it.

    References:
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 5. arXiv 2002.08071

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE, autonomous
        >>> from torchdyn_augment import DataControlled
        >>> NeuralODE(DataControlled(autonomous(torch.nn.Linear(4, 2))))(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    control: Tensor | None

    def __init__(self, field: Callable[..., Tree], *, detach: bool = False, axis: int = 1) -> None:
        super().__init__(field)
        self.detach, self.axis = detach, axis
        self.control = None

    def begin(self, t0: Tensor, t1: Tensor, y0: Tensor) -> Self:
        checked_axis(self, y0, self.axis)
        held = self.replace(control=y0.detach() if self.detach else y0)
        return super(DataControlled, held).begin(t0, t1, y0)

    def seen(self, t: Tensor, y: Tensor) -> Tensor:
        if self.control is None:
            raise IncompatibleError("DataControlled has no control: no solve has begun it; wanted solve or NeuralODE")
        return torch.cat((y, self.control), checked_axis(self, y, self.axis))

    def extra_repr(self) -> str:
        return f"detach={self.detach}, axis={self.axis}"
