"""Networks on a graph as vector fields over what its nodes have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from torchdyn_core import IncompatibleError, VectorField
from torchdyn_core.tree import Tree
from torchdyn_graph.bridges import check_nodes, check_types, for_net
from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import GraphLayer
from torchdyn_graph.temporal import TemporalGraph

__all__ = ["GraphField"]

_ONE_TIME = "all nodes see the edges of one time"


class GraphField(VectorField):
    """A network of a graph and of what its nodes have, as a vector field: `dx/dt = net(graph, x)`.

    Arguments:
        net: Called as `net(graph, x)`: a layer of ours or of DGL's, or a `GraphSequential` of any.
        graph: The graph, in any form that `net` takes, or a `TemporalGraph`: steps then end where edges change. None:
            `on` gives it later. Weights of edges that are an `nn.Parameter` are the field's parameter.

    Shapes:
        y: `(N, C)`, a row for each node; a dict of such by type of node, where `net` takes and returns those.

    Raises:
        IncompatibleError: If there is no graph yet, `net` cannot be called, or edges change and steps are per sample.
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

    graph: Any
    edge_weight: Tensor | None

    def __init__(self, net: nn.Module, graph: Any = None) -> None:
        super().__init__()
        if not callable(net) or isinstance(net, type):
            raise IncompatibleError(f"net is {net!r}; wanted a module that is called as net(graph, x)")
        self.net = net
        self._take(graph)

    def on(self, graph: Any) -> Self:
        """The same field on another graph."""
        return self.replace(**self._taken(graph))

    def _take(self, graph: Any) -> None:
        for name, value in self._taken(graph).items():
            setattr(self, name, value)

    def _taken(self, graph: Any) -> dict[str, Any]:
        """What a field has of its graph."""
        temporal = isinstance(graph, TemporalGraph)
        taken = graph if graph is None or temporal else for_net(self.net, graph)
        weight = taken.edge_weight if isinstance(taken, Graph) else None
        if weight is not None and (isinstance(weight, nn.Parameter) or not weight.is_leaf):
            # a parameter is the field's own, then; what something computed is a tensor that an adjoint leads back from
            taken = taken.weighted(weight.detach())
        else:
            weight = None
        return {"graph": taken, "edge_weight": weight, "refuses_rows": _ONE_TIME if temporal else ""}

    def at(self, t: Tensor) -> Any:
        """The graph at a time."""
        if isinstance(self.graph, TemporalGraph):
            return self.graph.at(t)
        return self.graph if self.edge_weight is None else self.graph.weighted(self.edge_weight)

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        return self.graph.times[1:] if isinstance(self.graph, TemporalGraph) and len(self.graph.times) > 1 else None

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The network's slope."""
        return self.net(self.at(t), y, *args)

    def begin(self, t0: Tensor, t1: Tensor, y0: Any) -> Self:
        if self.graph is None:
            raise IncompatibleError("GraphField has no graph: wanted GraphField(net, graph), or field.on(graph)")
        if isinstance(y0, Tensor):
            check_nodes(self.graph, y0)
            self._prepare(y0.dtype)
        if isinstance(y0, dict):
            check_types(self.graph, y0)
        return self

    def _prepare(self, dtype: torch.dtype) -> None:
        graphs = self.graph.graphs if isinstance(self.graph, TemporalGraph) else (self.graph,)
        for part in self.net.modules():
            for graph in graphs:
                if isinstance(part, GraphLayer) and isinstance(graph, Graph):
                    part.prepare(graph, dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call] # of torch's
        if isinstance(self.graph, Graph):
            graph, own = self.graph.changed(fn), self.edge_weight
            if own is not None:
                graph = graph.weighted(own if isinstance(own, nn.Parameter) else fn(own))
            self._take(graph)
        elif isinstance(self.graph, TemporalGraph):
            self.graph = self.graph.changed(fn)
        elif self.graph is not None and hasattr(self.graph, "to"):
            self.graph = self.graph.to(fn(torch.empty(0)).device)
        return self
