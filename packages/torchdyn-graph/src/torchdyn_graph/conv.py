"""Graph convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import GraphLayer

__all__ = ["GraphConv"]


class GraphConv(GraphLayer):
    """A graph convolution: `D^(-1/2) (A + I) D^(-1/2) x W + b`, `D` the degrees of `A + I`.

    A node without neighbours sees itself alone; a node that has a loop keeps it, and gets no second one.

    Arguments:
        in_features: What a node has.
        out_features: What it has behind the layer.
        loops: Whether a node sees itself, `+ I`.
        bias: Whether there is one.

    Shapes:
        x: `(N, in_features)`.  output: `(N, out_features)`.

    Raises:
        ShapeError: If `x` has not a row for each node of the graph.

    References:
        Kipf, Welling (2017), Semi-supervised classification with graph convolutional networks. arXiv 1609.02907

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, GraphConv
        >>> GraphConv(2, 3)(Graph(torch.tensor([[0, 1], [1, 0]]), num_nodes=3), torch.ones(3, 2)).shape
        torch.Size([3, 3])
    """

    def __init__(self, in_features: int, out_features: int, *, loops: bool = True, bias: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=False)
        nn.init.xavier_uniform_(self.linear.weight)
        self.bias = nn.Parameter(self.linear.weight.new_zeros(out_features)) if bias else None
        self.loops = loops

    def prepare(self, graph: Graph, dtype: torch.dtype) -> None:
        graph.looped(self.loops).prepare()
        graph.propagation(self.loops, dtype)

    def propagate(self, graph: Graph, x: Tensor) -> Tensor:
        graph, weight = graph.looped(self.loops), graph.propagation(self.loops, x.dtype)
        # sums over neighbours are cheaper the less a node has
        first = self.linear.out_features <= self.linear.in_features
        out = graph.sum(self.linear(x), weight) if first else self.linear(graph.sum(x, weight))
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"loops={self.loops}, bias={self.bias is not None}"
