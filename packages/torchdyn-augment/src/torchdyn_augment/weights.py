"""A network's weights, as tensors that are handed to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from torchdyn_augment.checks import checked_layer
from torchdyn_core import IncompatibleError, ShapeError
from torchdyn_core.field import shallow_copy
from torchdyn_core.tree import Tree

__all__ = ["Weights"]


class Weights:
    """The names and shapes of a network's parameters: how a list of tensors takes their place.

    The network is left as it is: what is called is a copy of its modules without their parameters, made for each call.
    (Torch's `functional_call` puts the tensors into the modules and takes them out again: two threads that do so at
    once destroy the parameters, and a compiler sees a field that changes itself.)

    Arguments:
        net: The network.

    Raises:
        IncompatibleError: If it is no module, has no parameters, the same one in two places, some that are not made
            yet, or keeps one where nobody finds it: in an attribute that is no parameter and no module.

    Example:
        >>> import torch
        >>> from torchdyn_augment.weights import Weights
        >>> net = torch.nn.Linear(2, 1)
        >>> weights = Weights(net)
        >>> weights.call(net, [torch.ones(1, 2), torch.zeros(1)], torch.tensor([3.0, 4.0]))
        tensor([7.])
    """

    def __init__(self, net: nn.Module) -> None:
        name = type(checked_layer("net", net)).__name__
        named = dict(net.named_parameters())
        if not named:
            raise IncompatibleError(f"{name} has no parameters; wanted a network with weights to move")
        if any(is_lazy(parameter) for parameter in named.values()):
            raise IncompatibleError(f"{name} has parameters that are not made yet; wanted them made: call it once")
        if len(list(net.named_parameters(remove_duplicate=False))) > len(named):
            raise IncompatibleError(f"{name} has tied parameters; wanted each of its weights in one place")
        for place in _hidden(net):
            raise IncompatibleError(
                f"{name} keeps weights in {place}, where a tensor that takes their place would not be seen; wanted "
                "them as parameters and modules alone (recurrent layers of torch's are not so: write out their cell)"
            )
        self.names = tuple(named)
        self.shapes = tuple(tuple(parameter.shape) for parameter in named.values())
        self.sizes = tuple(parameter.numel() for parameter in named.values())
        self.count = sum(self.sizes)

    def of(self, net: nn.Module) -> list[Tensor]:
        """The network's own."""
        own = dict(net.named_parameters())
        return [own[name] for name in self.names]

    def check(self, weights: Sequence[Tensor]) -> None:
        """Raise `ShapeError` unless tensors have the shapes of the network's."""
        got = tuple(tuple(weight.shape) for weight in weights)
        if got != self.shapes:
            raise ShapeError(f"got weights of shapes {list(got)}; wanted those of the network, {list(self.shapes)}")

    def apart(self, vector: Tensor) -> list[Tensor]:
        """A vector of all weights, cut into those of each parameter."""
        parts = vector.split(self.sizes)
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def call(self, net: nn.Module, weights: Sequence[Tensor], *inputs: Tree) -> Tree:
        """The network with these weights."""
        made: Tree = _holding(net, dict(zip(self.names, weights, strict=True)))(*inputs)
        return made


def _holding(net: nn.Module, named: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a module that has tensors in place of its parameters; modules without any are shared."""
    new = shallow_copy(net)
    for name in net._parameters:
        if name in named:
            del new._parameters[name]
            new.__dict__[name] = named[name]
    for key, child in net._modules.items():
        own = {name.removeprefix(f"{key}."): w for name, w in named.items() if name.startswith(f"{key}.")}
        if child is not None and own:
            new._modules[key] = _holding(child, own)
    return new


def _hidden(net: nn.Module) -> Iterator[str]:
    """Attributes in which modules keep weights, or modules with weights, that are not registered there."""
    for path, module in net.named_modules():
        for name, value in vars(module).items():
            if name in _REGISTRIES:
                continue
            items = (
                value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
            )
            for item in items:
                if isinstance(item, nn.Parameter) or (
                    isinstance(item, nn.Module) and any(True for _ in item.parameters())
                ):
                    yield f"{path}.{name}".lstrip(".")


_REGISTRIES = ("_parameters", "_buffers", "_modules")
