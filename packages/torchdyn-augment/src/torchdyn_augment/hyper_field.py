"""Fields whose weights a hypernetwork gives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchdyn_augment.weights import Weights
from torchdyn_core import ShapeError, VectorField
from torchdyn_core.tree import Tree

__all__ = ["HyperField"]


class HyperField(VectorField):
    """A network whose weights move with depth: its own, and on top of them what a hypernetwork makes of `t`.

    Arguments:
        net: A network of the state. Its parameters are the weights where the hypernetwork gives 0.
        hypernet: Maps a time, `(1,)`, to a vector of as many numbers as `net` has in its parameters, in their order.

    Shapes:
        t: `()`, or one for each row; a row's network then has weights of its own.
        y: what `net` takes, rows first.

    Raises:
        IncompatibleError: If `net` has no parameters.
        ShapeError: If the hypernetwork gives another number of weights.

    References:
        Ha, Dai, Le (2017), HyperNetworks. arXiv 1609.09106
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 3. arXiv 2002.08071

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE
        >>> from torchdyn_augment import HyperField
        >>> net = torch.nn.Linear(2, 2)
        >>> hypernet = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6))
        >>> NeuralODE(HyperField(net, hypernet))(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(self, net: nn.Module, hypernet: nn.Module) -> None:
        super().__init__()
        self.net, self.hypernet = net, hypernet
        self._weights = Weights(net)

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The network's slope with the weights of this time."""
        if t.dim() == 0:
            return self._weights.call(self.net, self._moved(t), y, *args)

        def row(t: Tensor, y: Tree) -> Tree:
            alone = torch.utils._pytree.tree_map(lambda leaf: leaf.unsqueeze(0), y)
            out = self._weights.call(self.net, self._moved(t), alone, *args)
            return torch.utils._pytree.tree_map(lambda leaf: leaf.squeeze(0), out)

        return torch.func.vmap(row)(t.reshape(t.shape[0]), y)

    def _moved(self, t: Tensor) -> list[Tensor]:
        made = self.hypernet(t.reshape(1))
        if made.shape != (self._weights.count,):
            raise ShapeError(
                f"the hypernetwork gave {tuple(made.shape)}; wanted ({self._weights.count},), a number for each weight "
                f"of {type(self.net).__name__}"
            )
        own = self._weights.of(self.net)
        return [weight + part for weight, part in zip(own, self._weights.apart(made), strict=True)]
