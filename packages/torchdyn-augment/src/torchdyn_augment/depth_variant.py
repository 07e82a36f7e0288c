"""Layers that depend on depth, and fields made of layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchdyn_core import OptionError, VectorField

__all__ = ["DepthSequential", "DepthVariant"]


class DepthVariant(nn.Module):
    """A layer that depends on depth: called as `layer(t, x)`.

    Example:
        >>> import torch
        >>> from torchdyn_augment import DepthVariant
        >>> class Fade(DepthVariant):
        ...     def forward(self, t, x):
        ...         return torch.exp(-t) * x
        >>> Fade()(torch.tensor(0.0), torch.ones(2))
        tensor([1., 1.])
    """

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The layer's output at depth `t`: `()`, or for each row `(N, 1, ..., 1)`."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(t, x)")

    def knots(self) -> Tensor | None:
        """Times at which the layer jumps, or None."""
        return None


class DepthSequential(VectorField):
    """Layers one behind the other, as a vector field; those that depend on depth are told it.

    Arguments:
        layers: `DepthVariant` layers, and any others, which see the state alone.

    Raises:
        OptionError: If there are none.

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE
        >>> from torchdyn_augment import DepthSequential, Fourier, GalerkinLinear
        >>> field = DepthSequential(GalerkinLinear(2, 16, Fourier(2)), torch.nn.Tanh(), torch.nn.Linear(16, 2))
        >>> NeuralODE(field)(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        if not layers:
            raise OptionError("DepthSequential got no layers; wanted at least one")
        self.layers = nn.ModuleList(layers)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        for layer in self.layers:
            y = layer(t, y) if isinstance(layer, DepthVariant) else layer(y)
        return y

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        found = [layer.knots() for layer in self.layers if isinstance(layer, DepthVariant)]
        known = [knots for knots in found if knots is not None]
        return torch.cat(known).unique() if known else None
