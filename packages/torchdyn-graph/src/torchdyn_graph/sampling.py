"""Neighbourhoods of a few nodes, drawn at random: training on graphs that are too large to be seen whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from torchdyn_core import IncompatibleError, OptionError, ShapeError
from torchdyn_graph.bridges import native
from torchdyn_graph.graph import Graph

__all__ = ["NeighbourSampler", "Neighbourhood"]


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Some nodes of a graph and edges among them.

    Arguments:
        graph: These nodes and edges; what it knows as node `i` is `nodes[i]` of the whole graph.
        nodes: Which nodes of the whole graph.
        edges: Which edges of the whole graph.
        seeds: Rows of the nodes that were asked for.

    Shapes:
        nodes: `(n,)`.  edges: `(e,)`.  seeds: `(s,)`.  All long.
    """

    graph: Graph
    nodes: Tensor
    edges: Tensor
    seeds: Tensor

    def to(self, device: torch.device | str) -> Neighbourhood:
        """The same on a device."""
        return Neighbourhood(self.graph.to(device), *(part.to(device) for part in (self.nodes, self.edges, self.seeds)))


class NeighbourSampler:
    """Draws neighbourhoods: of the nodes that are asked for some of those that they see, of these again, and so on.

    It is the `collate_fn` of a `DataLoader` over numbers of nodes, which brings shuffling and worker processes. A
    model sees `part.graph` and the features of `part.nodes`, its loss those of `part.seeds`. What is as far away as
    there are hops sees nothing: a solve within a neighbourhood is an approximation of one on the graph.

    Neighbourhoods that DGL's or PyG's samplers draw serve as well: models take their subgraphs (`Data` of a
    `NeighborLoader`, `DGLGraph` of a `ShaDowKHopSampler`).

    Arguments:
        graph: The whole graph, in any form that layers take.
        fanouts: For each hop, how many of a node's incoming edges are followed at most; -1: all.

    Raises:
        OptionError: If there is no hop, or a fanout is neither -1 nor a whole number of at least 1.
        ShapeError: If a node is asked for that is none.
        IncompatibleError: If weights require grad in a worker process, which gradients do not leave.

    References:
        Hamilton, Ying, Leskovec (2017), Inductive representation learning on large graphs. arXiv 1706.02216

    Example:
        >>> import torch
        >>> from torch.utils.data import DataLoader
        >>> from torchdyn_graph import GCDE, Graph, NeighbourSampler
        >>> graph, x = Graph(torch.randint(1000, (2, 5000))), torch.randn(1000, 4)
        >>> sampler = NeighbourSampler(graph, fanouts=[10, 5])
        >>> model = GCDE(4, 8, 3)
        >>> for part in DataLoader(range(100), batch_size=25, shuffle=True, collate_fn=sampler):
        ...     scores = model(part.graph, x[part.nodes])[part.seeds]
        >>> scores.shape
        torch.Size([25, 3])
    """

    def __init__(self, graph: Any, fanouts: Sequence[int]) -> None:
        self.fanouts = tuple(fanouts)
        if not self.fanouts or not all(_fanout(fanout) for fanout in self.fanouts):
            raise OptionError(f"fanouts={fanouts!r}; wanted for each hop -1 or a whole number >= 1")
        self.graph = native(graph)
        counts = torch.bincount(self.graph.edge_index[1], minlength=self.graph.num_nodes)
        self._into = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
        self._order = self.graph.order

    def __call__(self, seeds: Sequence[int] | Sequence[Tensor] | Tensor) -> Neighbourhood:
        """A neighbourhood of nodes."""
        asked = self._asked(seeds)
        nodes, rows = asked.unique(return_inverse=True)
        frontier, followed = nodes, [self._order[:0]]
        for fanout in self.fanouts:
            followed.append(self._order[self._drawn(frontier, fanout)])
            sources = self.graph.edge_index[0, followed[-1]].unique()
            frontier = sources[~torch.isin(sources, nodes)]
            nodes = torch.cat((nodes, frontier))
        edges = torch.cat(followed)
        ranked, places = nodes.sort()
        ends = places[torch.searchsorted(ranked, self.graph.edge_index[:, edges].contiguous())]
        weight = self.graph.edge_weight
        if weight is not None:
            if weight.requires_grad and get_worker_info() is not None:
                raise IncompatibleError(
                    "the graph's edge_weight requires grad, and gradients do not leave a worker process; wanted "
                    "num_workers=0, or a graph without weights and graph.weighted(edge_weight[part.edges])"
                )
            weight = weight[edges]
        return Neighbourhood(Graph(ends, len(nodes), weight), nodes, edges, rows)

    def _asked(self, seeds: Any) -> Tensor:
        count, asked = self.graph.num_nodes, torch.as_tensor(seeds)
        if not asked.numel():
            return torch.zeros(0, dtype=torch.long, device=self.graph.device)
        whole = asked.dtype != torch.bool and not asked.is_floating_point() and not asked.is_complex()
        if not whole or asked.dim() != 1 or int(asked.min()) < 0 or int(asked.max()) >= count:
            raise ShapeError(
                f"seeds are {tuple(asked.shape)} {asked.dtype}, {asked.flatten()[:5].tolist()} ...; wanted numbers of "
                f"nodes, whole and below {count} (of a mask: mask.nonzero()[:, 0])"
            )
        return asked.to(self.graph.device, torch.long)

    def _drawn(self, nodes: Tensor, fanout: int) -> Tensor:
        """Incoming edges of nodes, among edges that are sorted by target: all, or as many of each, drawn at random."""
        first, degree = self._into[nodes], self._into[nodes + 1] - self._into[nodes]
        owner = torch.arange(len(nodes), device=nodes.device).repeat_interleave(degree)
        rank = torch.arange(len(owner), device=nodes.device) - (degree.cumsum(0) - degree)[owner]
        if fanout < 0:
            return first[owner] + rank
        # edges of one node stay together and are shuffled among themselves
        shuffled = (owner + torch.rand(len(owner), dtype=torch.float64, device=nodes.device)).argsort()
        return (first[owner] + rank)[shuffled[rank < fanout]]

    def __repr__(self) -> str:
        return f"NeighbourSampler({self.graph!r}, fanouts={list(self.fanouts)})"


def _fanout(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (value == -1 or value >= 1)
