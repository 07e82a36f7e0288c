"""Fields whose weights a hypernetwork gives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchdyn_augment.checks import checked_layer
from torchdyn_augment.weights import Weights
from torchdyn_core import IncompatibleError, ShapeError, VectorField
from torchdyn_core.tree import Tree, leaves, tree_map

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
        IncompatibleError: If `net` has no parameters, or the hypernetwork is none; if rows have times of their own and
            there are `args`, of which nobody knows whether they are the rows'.
        ShapeError: If the hypernetwork gives another number of weights, or times are not those of the rows.

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
        self._weights = Weights(net)
        self.net, self.hypernet = net, checked_layer("hypernet", hypernet)

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The network's slope with the weights of this time."""
        if t.dim() == 0:
            return self._weights.call(self.net, self._moved(t), y, *args)

        rows = t.shape[0]
        if any(isinstance(leaf, Tensor) and leaf.dim() for leaf in leaves(args)):
            raise IncompatibleError(
                "HyperField got args with axes and a time for each row: each row's network is called alone, and nobody "
                "knows which of them are the row's; wanted them in the state, or steps that all rows share"
            )
        if t.numel() != rows or any(leaf.dim() < 1 or leaf.shape[0] != rows for leaf in leaves(y)):
            shapes = [tuple(leaf.shape) for leaf in leaves(y)]
            raise ShapeError(f"times {tuple(t.shape)} for a state {shapes}; wanted a time, or one for each row")

        def row(t: Tensor, y: Tree) -> Tree:
            alone = tree_map(lambda leaf: leaf.unsqueeze(0), y)
            out = self._weights.call(self.net, self._moved(t), alone, *args)
            return tree_map(lambda leaf: leaf.squeeze(0), out)

        return torch.func.vmap(row)(t.reshape(rows), y)

    def _moved(self, t: Tensor) -> list[Tensor]:
        made = self.hypernet(t.reshape(1))
        if made.shape != (self._weights.count,):
            raise ShapeError(
                f"the hypernetwork gave {tuple(made.shape)}; wanted ({self._weights.count},), a number for each weight "
                f"of {type(self.net).__name__}"
            )
        own = self._weights.of(self.net)
        return [weight + part for weight, part in zip(own, self._weights.apart(made), strict=True)]
