"""Networks on a graph as vector fields over what its nodes have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from torchdyn_core import IncompatibleError, VectorField
from torchdyn_core.tree import Tree
from torchdyn_graph.bridges import check_nodes, for_net
from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import GraphLayer

__all__ = ["GraphField"]


class GraphField(VectorField):
    """A network of a graph and of what its nodes have, as a vector field: `dx/dt = net(graph, x)`.

    Arguments:
        net: Called as `net(graph, x)`: a layer of ours or of DGL's, or a `GraphSequential` of any.
        graph: The graph, in any form that `net` takes. None: `on` gives it later.

    Shapes:
        y: `(N, C)`, a row for each node.

    Raises:
        IncompatibleError: If there is no graph yet, or `net` cannot be called.
        ShapeError: If the state has not a row for each node, or lies on another device.

    References:
        Poli, Massaroli, Park, Yamashita, Asama, Park (2019), Graph neural ordinary differential equations. arXiv
        1911.07532

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE
        >>> from torchdyn_graph import Graph, GraphConv, GraphField, GraphSequential
        >>> graph = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> net = GraphSequential(GraphConv(4, 8), torch.nn.Tanh(), GraphConv(8, 4))
        >>> NeuralODE(GraphField(net, graph))(torch.ones(3, 4)).shape
        torch.Size([3, 4])
    """

    def __init__(self, net: nn.Module, graph: Any = None) -> None:
        super().__init__()
        if not callable(net) or isinstance(net, type):
            raise IncompatibleError(f"net is {net!r}; wanted a module that is called as net(graph, x)")
        self.net = net
        self.graph = None if graph is None else for_net(net, graph)

    def on(self, graph: Any) -> GraphField:
        """The same field on another graph."""
        return self.replace(graph=for_net(self.net, graph))

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The network's slope."""
        return self.net(self.graph, y, *args)

    def begin(self, t0: Tensor, t1: Tensor, y0: Any) -> Self:
        if self.graph is None:
            raise IncompatibleError("GraphField has no graph: wanted GraphField(net, graph), or field.on(graph)")
        if isinstance(y0, Tensor):
            check_nodes(self.graph, y0)
            self._prepare(y0.dtype)
        return self

    def _prepare(self, dtype: torch.dtype) -> None:
        if isinstance(self.graph, Graph):
            for part in self.net.modules():
                if isinstance(part, GraphLayer):
                    part.prepare(self.graph, dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # of torch's
        if isinstance(self.graph, Graph):
            self.graph = self.graph.changed(fn)
        elif self.graph is not None and hasattr(self.graph, "to"):
            self.graph = self.graph.to(fn(torch.empty(0)).device)
        return self
