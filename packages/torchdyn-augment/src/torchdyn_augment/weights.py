"""A network's weights, as tensors that are handed to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchdyn_core import IncompatibleError
from torchdyn_core.tree import Tree

__all__ = ["Weights"]


class Weights:
    """The names and shapes of a network's parameters: how a list of tensors takes their place.

    Arguments:
        net: The network.

    Raises:
        IncompatibleError: If it has no parameters, or the same one in two places.

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
        if len(list(net.named_parameters(remove_duplicate=False))) > len(named):
            raise IncompatibleError(
                f"{type(net).__name__} has tied parameters; wanted each of its weights in one place"
            )

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
        return _called(net, named, inputs)


def _called(net: nn.Module, named: Mapping[str, Tensor], inputs: tuple[Tree, ...]) -> Tree:
    """The network with these weights: chains layer by layer, and layers that are known by what they compute.

    Torch's own function puts weights into modules and takes them out again, which its compiler takes for a change of
    the field where modules lie in modules.
    """
    if net._forward_hooks or net._forward_pre_hooks or len(inputs) != 1 or type(net) not in (nn.Sequential, *_LAYERS):
        return torch.func.functional_call(net, dict(named), inputs)
    (y,) = inputs
    if type(net) in _LAYERS:
        return _LAYERS[type(net)](net, y, named["weight"], named.get("bias"))
    for key, layer in net._modules.items():
        assert layer is not None
        own = {name.removeprefix(f"{key}."): w for name, w in named.items() if name.startswith(f"{key}.")}
        y = _called(layer, own, (y,)) if own else layer(y)
    return y


_LAYERS: dict[type, Callable[..., Tensor]] = {
    nn.Linear: lambda layer, y, weight, bias: functional.linear(y, weight, bias),
    nn.Conv1d: lambda layer, y, weight, bias: layer._conv_forward(y, weight, bias),
    nn.Conv2d: lambda layer, y, weight, bias: layer._conv_forward(y, weight, bias),
}
