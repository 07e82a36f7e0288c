"""Graph convolution."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchdyn_graph.checks import check_size
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
        own: Whether what a node itself has gets weights of its own, `+ x V`. Without loops that is a Chebyshev filter
            of first order, which can tell a node from its neighbours.
        bias: Whether there is one.

    Shapes:
        x: `(N, in_features)`, dense or sparse.  output: `(N, out_features)`.

    Raises:
        OptionError: If a size is no whole number of at least 1.
        ShapeError: If `x` has not a row for each node of the graph.

    References:
        Kipf, Welling (2017), Semi-supervised classification with graph convolutional networks. arXiv 1609.02907
        Defferrard, Bresson, Vandergheynst (2016), Convolutional neural networks on graphs with fast localized spectral
        filtering. arXiv 1606.09375

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, GraphConv
        >>> GraphConv(2, 3)(Graph(torch.tensor([[0, 1], [1, 0]]), num_nodes=3), torch.ones(3, 2)).shape
        torch.Size([3, 3])
    """

    def __init__(
        self, in_features: int, out_features: int, *, loops: bool = True, own: bool = False, bias: bool = True
    ) -> None:
        super().__init__()
        check_size(in_features=in_features, out_features=out_features)
        self.linear = nn.Linear(in_features, out_features, bias=False)
        self.own = nn.Linear(in_features, out_features, bias=False) if own else None
        for layer in (self.linear, self.own):
            if layer is not None:
                nn.init.xavier_uniform_(layer.weight)
        self.bias = nn.Parameter(self.linear.weight.new_zeros(out_features)) if bias else None
        self.loops = loops

    def prepare(self, graph: Graph, dtype: torch.dtype) -> None:
        graph.looped(self.loops).prepare()
        graph.propagation(self.loops, dtype)

    def propagate(self, graph: Graph, x: Tensor) -> Tensor:
        # sums over neighbours are cheaper the less a node has
        first = self.linear.out_features <= self.linear.in_features or x.layout != torch.strided
        out = graph.propagated(self.linear(x), self.loops) if first else self.linear(graph.propagated(x, self.loops))
        if self.own is not None:
            out = out + self.own(x)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"loops={self.loops}, own={self.own is not None}, bias={self.bias is not None}"
