"""Graph diffusion: what nodes have flows to their neighbours."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from torchdyn_core import OptionError
from torchdyn_graph.checks import check_size
from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import GraphLayer

__all__ = ["GraphDiffusion"]


class GraphDiffusion(GraphLayer):
    """Diffusion with a diffusivity that nodes pay attention with: `(A(x) - I) x`, `A` with rows that sum to 1 (GRAND).

    The attention is a scaled product of keys and queries, averaged over heads. As a field it smooths: the largest and
    the smallest value of a channel never grow apart. A node without neighbours keeps what it has. The weights of the
    graph's edges are not looked at.

    Arguments:
        features: What a node has.
        attention: Size of all keys together.
        heads: Of the attention; it divides `attention`.
        loops: Whether a node sees itself.

    Shapes:
        x, output: `(N, features)`.

    Raises:
        OptionError: If a size is no whole number of at least 1, or the heads do not divide the attention.
        ShapeError: If `x` has not a row for each node of the graph.

    References:
        Chamberlain, Rowbottom, Gorinova, Bronstein, Webb, Rossi (2021), GRAND: graph neural diffusion. arXiv 2106.10934

    Example:
        >>> import torch
        >>> from torchdyn_core import solve
        >>> from torchdyn_graph import Graph, GraphDiffusion, GraphField
        >>> _ = torch.manual_seed(0)
        >>> field = GraphField(GraphDiffusion(1), Graph(torch.tensor([[0, 1], [1, 0]])))
        >>> solve(field, torch.tensor([[0.0], [1.0]]), [0.0, 50.0]).ys[-1].diff(dim=0).abs() < 1e-3
        tensor([[True]])
    """

    def __init__(self, features: int, attention: int = 16, heads: int = 1, *, loops: bool = True) -> None:
        super().__init__()
        check_size(features=features, attention=attention, heads=heads)
        if attention % heads:
            raise OptionError(f"attention={attention}, heads={heads}; wanted heads that divide the attention")
        self.key, self.query = (nn.Linear(features, attention) for _ in range(2))
        self.heads, self.loops = heads, loops

    def prepare(self, graph: Graph, dtype: torch.dtype) -> None:
        graph.copies(1, self.loops).prepare()
        graph.copies(self.heads, self.loops).prepare()

    def diffusivity(self, graph: Graph, x: Tensor) -> Tensor:
        """The weights of edges, sorted by target, of the graph with its loops: those of a node's edges sum to 1."""
        copies = graph.copies(self.heads, self.loops)
        keys, queries = (layer(x).unflatten(-1, (self.heads, -1)).flatten(0, 1) for layer in (self.key, self.query))
        scores = copies.dot(queries, keys) / math.sqrt(keys.shape[1])
        return copies.of_heads(copies.softmax(scores), self.heads).mean(1)

    def propagate(self, graph: Graph, x: Tensor) -> Tensor:
        return self.flow(graph, x, self.diffusivity(graph, x))

    def flow(self, graph: Graph, x: Tensor, diffusivity: Tensor) -> Tensor:
        """What flows into each node, given the diffusivity of the edges."""
        seen = graph.copies(1, self.loops)
        flow = seen.sum(x, diffusivity) - x
        return flow if self.loops else torch.where(seen.sees[:, None], flow, torch.zeros_like(flow))

    def extra_repr(self) -> str:
        return f"heads={self.heads}, loops={self.loops}"
