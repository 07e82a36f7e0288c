"""Layers that see a graph, and chains of them with layers that do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_core import IncompatibleError, ShapeError
from torchdyn_graph.bridges import called, native
from torchdyn_graph.checks import check_share
from torchdyn_graph.graph import Graph

__all__ = ["FeatureDropout", "GraphLayer", "GraphSequential"]


class GraphLayer(nn.Module):
    """A layer of a graph and of what its nodes have: called as `layer(graph, x)`, as DGL's layers are.

    The graph may be a `Graph`, `edge_index` alone, a `Data` of PyG's or a `DGLGraph`. Subclasses define `propagate`,
    which gets it as a `Graph`, and `prepare`, where they keep something of graphs.

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph
        >>> from torchdyn_graph.layer import GraphLayer
        >>> class Mean(GraphLayer):
        ...     def propagate(self, graph, x):
        ...         return graph.sum(x) / graph.sum(torch.ones_like(x)).clamp(min=1)
        >>> Mean()(torch.tensor([[0, 1], [2, 2]]), torch.tensor([[2.0], [4.0], [9.0]])).tolist()
        [[0.0], [0.0], [3.0]]
    """

    def forward(self, graph: Any, x: Tensor) -> Tensor:
        """What nodes have behind the layer."""
        made = native(graph, x)
        made.checked(x)
        return self.propagate(made, x)

    def propagate(self, graph: Graph, x: Tensor) -> Tensor:
        """What nodes have behind the layer, on a graph of ours."""
        raise NotImplementedError(f"{type(self).__name__} defines no propagate(graph, x)")

    def prepare(self, graph: Graph, dtype: torch.dtype) -> None:
        """Have the graph make, once, what this layer asks it for with features of a dtype: solves change nothing."""
        graph.prepare()


class GraphSequential(nn.Module):
    """Layers one behind the other; those that see a graph are given it.

    Which those are: `GraphLayer` and `GraphSequential`; layers of DGL's, which get the graph as DGL's; layers of PyG's,
    which get `x, edge_index` and, if the graph has weights, these.

    Arguments:
        layers: The layers.

    Raises:
        IncompatibleError: If one is no module.

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, GraphConv, GraphSequential
        >>> net = GraphSequential(GraphConv(2, 8), torch.nn.Tanh(), GraphConv(8, 2))
        >>> net(Graph(torch.tensor([[0, 1], [1, 0]])), torch.ones(2, 2)).shape
        torch.Size([2, 2])
    """

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for place, layer in enumerate(layers):
            if not isinstance(layer, nn.Module):
                raise IncompatibleError(f"layer {place} is {layer!r}; wanted a torch.nn.Module")
        self.layers = nn.ModuleList(layers)

    def forward(self, graph: Any, x: Tensor) -> Tensor:
        """What nodes have behind the last layer."""
        for layer in self.layers:
            x = layer(graph, x) if isinstance(layer, (GraphLayer, GraphSequential)) else called(layer, graph, x)
        return x


class FeatureDropout(nn.Dropout):
    """Dropout of what nodes have, dense or sparse: of sparse rows it drops stored entries, which cost it alone.

    Words of documents are sparse: Cora's features are to 99 % zero.

    Arguments:
        p: Probability of an entry to be dropped.

    Shapes:
        x, output: any, alike.

    Raises:
        OptionError: If `p` is not in [0, 1).
        ShapeError: If `x` is sparse in another layout than COO or CSR.

    Example:
        >>> import torch
        >>> from torchdyn_graph.layer import FeatureDropout
        >>> FeatureDropout(0.0)(torch.eye(3).to_sparse_csr()).layout
        torch.sparse_csr
    """

    def __init__(self, p: float = 0.5) -> None:
        check_share(p=p)
        super().__init__(p)

    def forward(self, x: Tensor) -> Tensor:
        """What is left, scaled up."""
        if x.layout == torch.strided:
            return super().forward(x)
        if not self.training or self.p == 0.0:
            return x
        if x.layout == torch.sparse_coo:
            x = x.coalesce()
            indices, values = x.indices(), super().forward(x.values())
            return torch.sparse_coo_tensor(indices, values, x.shape, is_coalesced=True, check_invariants=False)
        if x.layout == torch.sparse_csr:
            values = super().forward(x.values())
            return torch.sparse_csr_tensor(x.crow_indices(), x.col_indices(), values, x.shape, check_invariants=False)
        raise ShapeError(f"x is {x.layout}; wanted strided, sparse_coo or sparse_csr: x.to_sparse_csr()")
