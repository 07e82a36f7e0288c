"""Graphs of other libraries: what they are here, and what a layer of theirs is given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from torchdyn_core import IncompatibleError, ShapeError
from torchdyn_graph.graph import Graph

__all__ = ["called", "check_nodes", "check_types", "for_net", "native", "takes"]


def native(graph: Any, x: Tensor | None = None) -> Graph:
    """A graph as one of ours; made anew unless it is.

    Arguments:
        graph: A `Graph`; `edge_index` alone; a `Data` of PyG's, with `edge_weight` if it has any; a `DGLGraph`.
        x: What its nodes have, which tells how many there are where the graph does not.

    Raises:
        IncompatibleError: If it is none of these, or DGL or PyG cannot be imported though it is of theirs.

    Example:
        >>> import torch
        >>> from torchdyn_graph.bridges import native
        >>> native(torch.tensor([[0], [1]]), torch.ones(3, 2))
        Graph(nodes=3, edges=1)
    """
    if isinstance(graph, Graph):
        return graph
    nodes = None if x is None else x.shape[0]
    if isinstance(graph, Tensor):
        return Graph(graph, nodes)
    if _of(graph, "dgl"):
        from torchdyn_graph import dgl_bridge

        return dgl_bridge.native(graph)
    edges = getattr(graph, "edge_index", None)
    if isinstance(edges, Tensor):  # a Data of PyG's, or what looks like one
        count = getattr(graph, "num_nodes", None)
        parts = getattr(graph, "batch", None)  # a Batch of PyG's
        return Graph(
            edges, nodes if count is None else count, getattr(graph, "edge_weight", None),
            batch=parts if isinstance(parts, Tensor) else None,
        )  # fmt: skip
    raise IncompatibleError(
        f"graph is a {type(graph).__name__}; wanted a Graph, edge_index, a Data of PyG's or a DGLGraph"
    )


def called(layer: nn.Module, graph: Any, x: Tensor) -> Tensor:
    """A layer of whichever library on what nodes have: with the graph as that library's, or without one.

    Weights of edges go to layers of other libraries that name an argument `edge_weight`.
    """
    if _of(layer, "dgl"):
        from torchdyn_graph import dgl_bridge

        theirs: Tensor = dgl_bridge.called(layer, graph, x)
        return theirs
    if any(_of_class(kind, "torch_geometric") for kind in type(layer).__mro__) and takes(layer, "edge_index"):
        made = native(graph, x)
        weighted = made.edge_weight is not None and takes(layer, "edge_weight")
        weight = {"edge_weight": made.edge_weight} if weighted else {}
        out: Tensor = layer(x, made.edge_index, **weight)
        return out
    out = layer(x)
    return out


def for_net(net: nn.Module, graph: Any, x: Tensor | None = None) -> Any:
    """A graph as the layers of a network take it, so that none of them has to make it anew in a solve.

    With layers of DGL's it is one of DGL's; else one of ours, unless the network is a user's own, which gets the graph
    as it is.
    """
    if any(_of(part, "dgl") for part in net.modules()):
        from torchdyn_graph import dgl_bridge

        return dgl_bridge.theirs(graph, x)
    ours = type(net).__module__.split(".")[0] == __name__.split(".")[0]
    return native(graph, x) if ours or isinstance(graph, Tensor) else graph


_ARGUMENTS: dict[type[nn.Module], frozenset[str]] = {}
"""Names of the arguments of layers: Dynamo looks through `functools.cache`, with a warning."""


def takes(layer: nn.Module, argument: str) -> bool:
    """Whether a layer is called with an argument of a name."""
    kind = type(layer)
    if kind not in _ARGUMENTS:
        _ARGUMENTS[kind] = frozenset(inspect.signature(kind.forward).parameters)
    return argument in _ARGUMENTS[kind]


def check_types(graph: Any, y: Mapping[str, Tensor]) -> None:
    """Raise `ShapeError` unless there is a row for each node of each type of a graph of DGL's."""
    kinds = getattr(graph, "ntypes", None) or ()
    for kind in kinds:
        if kind not in y:
            raise ShapeError(f"the state has no features of node type {kind!r}; wanted {', '.join(map(repr, kinds))}")
        if y[kind].shape[:1] != (graph.num_nodes(kind),):
            got, count = tuple(y[kind].shape), graph.num_nodes(kind)
            raise ShapeError(f"features of node type {kind!r} are {got} for {count} nodes; wanted a row for each")


def check_nodes(graph: Any, x: Tensor) -> None:
    """Raise `ShapeError` unless there is a row for each node of a graph, where it lies."""
    if isinstance(graph, Graph):
        graph.checked(x)
        return
    kinds = getattr(graph, "ntypes", None) or ()
    if len(kinds) > 1:
        raise ShapeError(f"the state is a tensor; wanted a dict of them by node type: {', '.join(map(repr, kinds))}")
    nodes = getattr(graph, "num_nodes", None)
    nodes = nodes() if callable(nodes) else nodes
    if nodes is not None and x.dim() and x.shape[0] != nodes:
        raise ShapeError(f"node features are {tuple(x.shape)} for a graph of {nodes} nodes; wanted a row for each")


def _of(thing: object, library: str) -> bool:
    return any(_of_class(kind, library) for kind in type(thing).__mro__)


def _of_class(kind: type, library: str) -> bool:
    return kind.__module__.split(".")[0] == library
