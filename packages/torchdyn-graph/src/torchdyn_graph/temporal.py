"""Graphs whose edges change at known times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchdyn_core import ShapeError
from torchdyn_graph.bridges import native
from torchdyn_graph.graph import Graph

__all__ = ["TemporalGraph"]


class TemporalGraph:
    """A graph for each stretch of time: the k-th from `times[k]` on, until the next one begins.

    Before the first time the first graph holds. In a `GraphField` the steps of a solve end at the times, so that none
    sees two graphs. Solves with it run eager, and take steps that all nodes share.

    Arguments:
        times: When each graph begins to hold, rising.
        graphs: The graphs, all of the same nodes, in any form that layers take.

    Shapes:
        times: `(K,)`.

    Raises:
        ShapeError: If there are not as many times as graphs, times do not rise, or graphs differ in their nodes.

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, TemporalGraph
        >>> edges = torch.tensor([[0, 1], [1, 0]])
        >>> graph = TemporalGraph(torch.tensor([0.0, 0.5]), [Graph(edges, 3), Graph(edges + 1, 3)])
        >>> graph.at(torch.tensor(0.7)).edge_index.tolist()
        [[1, 2], [2, 1]]
    """

    def __init__(self, times: Tensor, graphs: Sequence[Any]) -> None:
        self.graphs = tuple(native(graph) for graph in graphs)
        self.times = torch.as_tensor(times, dtype=torch.float64)
        if self.times.shape != (len(self.graphs),) or not len(self.graphs):
            raise ShapeError(f"{tuple(self.times.shape)} times and {len(self.graphs)} graphs; wanted one time for each")
        if not bool((self.times.diff() > 0).all() & self.times.isfinite().all()):
            raise ShapeError(f"times {self.times.tolist()}; wanted finite ones that rise")
        nodes = sorted({graph.num_nodes for graph in self.graphs})
        if len(nodes) > 1:
            raise ShapeError(f"graphs have {nodes} nodes; wanted the same in all")

    @property
    def num_nodes(self) -> int:
        """How many nodes there are."""
        return self.graphs[0].num_nodes

    def at(self, t: Tensor) -> Graph:
        """The graph that holds at a time."""
        times = self.times.to(t.device, t.dtype)  # rounded as t is: what begins at t holds at t
        return self.graphs[max(int(torch.searchsorted(times, t.detach().reshape(1), right=True)) - 1, 0)]

    def changed(self, change: Callable[[Tensor], Tensor]) -> TemporalGraph:
        """The graphs with a function applied to their tensors, one that keeps their shapes."""
        return TemporalGraph(self.times, [graph.changed(change) for graph in self.graphs])

    def __repr__(self) -> str:
        return f"TemporalGraph(nodes={self.num_nodes}, graphs={len(self.graphs)})"
