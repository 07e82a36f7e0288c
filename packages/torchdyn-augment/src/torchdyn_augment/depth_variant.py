"""Layers that depend on depth, and fields made of layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_augment.checks import checked_layer
from torchdyn_core import IncompatibleError, OptionError, VectorField

__all__ = ["DepthSequential", "DepthVariant"]


class DepthVariant(VectorField):
    """A layer that depends on depth: called as `layer(t, x)`. Where it keeps the shape of `x` it is a field by itself.

    A layer that jumps names the times in `breakpoints`.

    Example:
        >>> import torch
        >>> from torchdyn_augment import DepthVariant
        >>> class Fade(DepthVariant):
        ...     def forward(self, t, x):
        ...         return torch.exp(-t) * x
        >>> Fade()(torch.tensor(0.0), torch.ones(2))
        tensor([1., 1.])
    """

    def forward(self, t: Tensor, x: Any, *args: Any) -> Any:
        """The layer's output at depth `t`: `()`, or for each row `(N, 1, ..., 1)`."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(t, x)")


class DepthSequential(DepthVariant):
    """Layers one behind the other, as a vector field; those that depend on depth are told it.

    Arguments:
        layers: `DepthVariant` layers, `DepthSequential` among them, and any others, which see the state alone.

    Raises:
        OptionError: If there are none.
        IncompatibleError: If one is no module, or a container that would not tell the layers in it the depth.

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
        for place, layer in enumerate(layers):
            checked_layer(f"layer {place}", layer)
            inner = layer.modules() if isinstance(layer, (nn.Sequential, nn.ModuleList)) else ()
            if any(isinstance(part, DepthVariant) for part in inner):
                raise IncompatibleError(
                    f"layer {place} is a {type(layer).__name__} that holds layers that depend on depth, and would not "
                    "tell them; wanted a DepthSequential in its place, or the layers one by one"
                )
        self.layers = nn.ModuleList(layers)

    def forward(self, t: Tensor, x: Tensor, *args: Any) -> Tensor:
        """The slope."""
        if args:
            raise IncompatibleError("DepthSequential takes no args: its layers do not; wanted a field of your own")
        for layer in self.layers:
            x = layer(t, x) if isinstance(layer, DepthVariant) else layer(x)
        return x

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        found = [layer.breakpoints(t0, t1) for layer in self.layers if isinstance(layer, DepthVariant)]
        known = [knots for knots in found if knots is not None]
        return torch.cat(known).unique() if known else None
