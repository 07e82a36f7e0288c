"""A network's weights, as tensors that are handed to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from torchdyn_core import IncompatibleError
from torchdyn_core.tree import Tree

__all__ = ["Weights"]


class Weights:
    """The names and shapes of a network's parameters: how a list of tensors takes their place.

    Arguments:
        net: The network.

    Raises:
        IncompatibleError: If it has no parameters.

    Example:
        >>> import torch
        >>> from torchdyn_augment.weights import Weights
        >>> net = torch.nn.Linear(2, 1)
        >>> weights = Weights(net)
        >>> weights.call(net, [torch.ones(1, 2), torch.zeros(1)], torch.tensor([3.0, 4.0]))
        tensor([7.])
    """

    def __init__(self, net: nn.Module) -> None:
        named = dict(net.named_parameters())
        if not named:
            raise IncompatibleError(f"{type(net).__name__} has no parameters; wanted a network with weights to move")
        self.names = tuple(named)
        self.shapes = tuple(tuple(parameter.shape) for parameter in named.values())
        self.sizes = tuple(parameter.numel() for parameter in named.values())
        self.count = sum(self.sizes)

    def of(self, net: nn.Module) -> list[Tensor]:
        """The network's own."""
        own = dict(net.named_parameters())
        return [own[name] for name in self.names]

    def apart(self, vector: Tensor) -> list[Tensor]:
        """A vector of all weights, cut into those of each parameter."""
        parts = vector.split(self.sizes)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def call(self, net: nn.Module, weights: Sequence[Tensor], *inputs: Tree) -> Tree:
        """The network with these weights."""
        named = dict(zip(self.names, weights, strict=True))
        return torch.func.functional_call(net, named, inputs)
