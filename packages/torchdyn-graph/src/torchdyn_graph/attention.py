"""Graph attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchdyn_graph.checks import check_size
from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import GraphLayer

__all__ = ["GraphAttention"]


class GraphAttention(GraphLayer):
    """Attention to neighbours: each node takes a mean over them, with weights that depend on what both have.

    A node without neighbours sees itself alone, as with loops every node sees itself, too. Weights of the graph's edges
    are not looked at.

    Arguments:
        in_features: What a node has.
        out_features: What it has behind the layer, of each head.
        heads: How many means are taken side by side.
        mean: Whether heads are averaged; else they stand one behind the other.
        loops: Whether a node sees itself.
        slope: Of the leaky rectifier of scores, below zero.
        bias: Whether there is one.

    Shapes:
        x: `(N, in_features)`.  output: `(N, heads * out_features)`, with `mean` `(N, out_features)`.

    Raises:
        OptionError: If a size or the heads are no whole number of at least 1.
        ShapeError: If `x` has not a row for each node of the graph.

    References:
        Velickovic, Cucurull, Casanova, Romero, Lio, Bengio (2018), Graph attention networks. arXiv 1710.10903

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, GraphAttention
        >>> GraphAttention(2, 3, heads=2)(Graph(torch.tensor([[0, 1], [1, 0]])), torch.ones(2, 2)).shape
        torch.Size([2, 6])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        heads: int = 1,
        *,
        mean: bool = False,
        loops: bool = True,
        slope: float = 0.2,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_size(in_features=in_features, out_features=out_features, heads=heads)
        self.heads, self.mean, self.loops, self.slope = heads, mean, loops, slope
        self.linear = nn.Linear(in_features, heads * out_features, bias=False)
        self.of_source = nn.Parameter(torch.empty(heads, out_features))
        self.of_target = nn.Parameter(torch.empty(heads, out_features))
        for weight in (self.linear.weight, self.of_source, self.of_target):
            nn.init.xavier_uniform_(weight, gain=nn.init.calculate_gain("relu"))
        self.bias = nn.Parameter(torch.zeros(out_features if mean else heads * out_features)) if bias else None

    def prepare(self, graph: Graph, dtype: torch.dtype) -> None:
        graph.copies(self.heads, self.loops).prepare()

    def propagate(self, graph: Graph, x: Tensor) -> Tensor:
        # a head's node is a node: copies of the graph, one for each head, are one graph
        copies = graph.copies(self.heads, self.loops)
        values = self.linear(x).unflatten(-1, (self.heads, -1))
        source, target = ((values * weight).sum(-1).flatten() for weight in (self.of_source, self.of_target))
        ends = copies.ends
        scores = functional.leaky_relu(source.index_select(0, ends[0]) + target.index_select(0, ends[1]), self.slope)
        out: Tensor = copies.attended(values.flatten(0, 1), scores).unflatten(0, (-1, self.heads))
        out = out.mean(1) if self.mean else out.flatten(1)
        return out if self.bias is None else out + self.bias

    def extra_repr(self) -> str:
        return f"heads={self.heads}, mean={self.mean}, loops={self.loops}, slope={self.slope}"
