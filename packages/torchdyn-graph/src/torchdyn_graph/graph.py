"""Graphs: nodes, directed edges, weights."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchdyn_core import ShapeError
from torchdyn_graph.checks import check_batch, check_weight, checked_edges, checked_nodes
from torchdyn_graph.neighbours import Incidence, along_edges, from_neighbours, largest_into
from torchdyn_graph.transforms import differentiated, kept

__all__ = ["Graph"]


class Graph:
    """A directed graph along whose edges messages go, from source to target.

    An edge without direction stands twice. What is sparse about a graph is made once, when it is first asked for.

    Arguments:
        edge_index: Source and target of every edge.
        num_nodes: How many nodes there are. Default: as many as `edge_index` names.
        edge_weight: A weight for each edge, to which gradients go. Default: every edge weighs 1. What is made of
            weights that need no gradient is made once: for others make another graph.
        batch: The graph that each node is of, where several are one: ids from 0, for `solve(per_sample=graph.batch)`.

    Shapes:
        edge_index: `(2, E)`, long.  edge_weight: `(E,)`, floating point.  batch: `(num_nodes,)`, long.

    Raises:
        ShapeError: If shapes or dtypes are others, or an edge has an end that is no node.

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph
        >>> graph = Graph(torch.tensor([[0, 1, 1], [1, 0, 2]]), num_nodes=4)
        >>> graph
        Graph(nodes=4, edges=3)
        >>> graph.sum(torch.tensor([[1.0], [2.0], [3.0], [4.0]])).tolist()
        [[2.0], [1.0], [2.0], [0.0]]
    """

    def __init__(
        self,
        edge_index: Tensor,
        num_nodes: int | None = None,
        edge_weight: Tensor | None = None,
        *,
        batch: Tensor | None = None,
    ) -> None:
        edges = checked_edges(edge_index)
        nodes = checked_nodes(edges, num_nodes)
        check_weight(edge_weight, edges)
        check_batch(batch, edges, nodes)
        self._hold(edges, nodes, edge_weight, batch)

    def _hold(self, edges: Tensor, nodes: int, weight: Tensor | None, batch: Tensor | None) -> None:
        self.edge_index, self.num_nodes, self.edge_weight, self.batch = edges, nodes, weight, batch
        self._order: Tensor | None = None
        self._edges: Incidence | None = None
        self._sorted: Tensor | None = None
        self._ends: Tensor | None = None
        self._propagation: dict[tuple[bool, torch.dtype], tuple[Tensor, Tensor]] = {}
        self._sorted_places: dict[bool, Tensor] = {}
        self._copies: dict[tuple[int, bool], Graph] = {}
        self._repeated: dict[int, Graph] = {}

    @staticmethod
    def _made(edges: Tensor, nodes: int, weight: Tensor | None = None, batch: Tensor | None = None) -> Graph:
        """A graph of parts that are known to fit."""
        graph = object.__new__(Graph)
        graph._hold(edges, nodes, weight, batch)
        return graph

    @property
    def num_edges(self) -> int:
        """How many edges there are, each direction counted."""
        return self.edge_index.shape[1]

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.edge_index.device

    @property
    def order(self) -> Tensor:
        """Places of the edges, sorted by target: `edge_index[:, order]`."""
        if self._order is None:
            with kept():
                self._order = self.edge_index[1].argsort(stable=True)
        return self._order

    @property
    def ends(self) -> Tensor:
        """Source and target of every edge, sorted by target."""
        if self._ends is None:
            with kept():
                self._ends = self.edge_index[:, self.order]
        return self._ends

    @property
    def edges(self) -> Incidence:
        """Which edges come into each node and go out of it."""
        if self._edges is None:
            with kept():
                self._edges = Incidence.of(self.ends[0], self.ends[1], self.num_nodes)
        return self._edges

    def prepare(self) -> None:
        """Make what is made when it is first asked for, unless there are no numbers to make it of."""
        if not self.edge_index.is_meta:
            _ = self.edges, self.weights(torch.get_default_dtype())

    @property
    def sees(self) -> Tensor:
        """Whether an edge comes into each node."""
        return self.edges.into.diff() > 0

    @property
    def _learned(self) -> bool:
        """Whether nothing that is made of the weights may be kept."""
        return self.edge_weight is not None and differentiated(self.edge_weight)

    def weights(self, dtype: torch.dtype) -> Tensor:
        """Weights of the edges, sorted by target."""
        if self.edge_weight is None:
            return torch.ones(self.num_edges, dtype=dtype, device=self.device)
        if self._learned:
            return self.edge_weight.index_select(0, self.order).to(dtype)
        if self._sorted is None:
            with kept():
                self._sorted = self.edge_weight[self.order]
        return self._sorted.to(dtype)

    def sum(self, x: Tensor, weight: Tensor | None = None, turned: Tensor | None = None) -> Tensor:
        """For each node the weighted sum over what its neighbours, the sources of its edges, have.

        Arguments:
            x: What nodes have.
            weight: Of the edges, sorted by target. Default: the graph's own.
            turned: The same, sorted by source, where they are known and need no gradient: for the backward pass.

        Shapes:
            x: `(N, *)`.  weight, turned: `(E,)`.  output: `(N, *)`.

        Raises:
            ShapeError: If `x` has not a row for each node.
        """
        flat = self.checked(x).flatten(1) if x.dim() > 1 else self.checked(x)[:, None]
        if weight is None:
            weight = self.weights(x.dtype)
            turned = weight if self.edge_weight is None else None
        made = from_neighbours(flat, weight, self.edges, turned)
        return made.reshape(x.shape)

    def dot(self, y: Tensor, x: Tensor) -> Tensor:
        """For each edge, sorted by target, the product of `y` at its target and `x` at its source.

        Shapes:
            y, x: `(N, D)`.  output: `(E,)`.
        """
        return along_edges(self.checked(y), self.checked(x), self.edges)

    def softmax(self, scores: Tensor) -> Tensor:
        """Positive weights of the edges that sum to 1 over those that come into a node: exponentials of scores.

        Shapes:
            scores, output: `(E,)`, edges sorted by target.
        """
        powers = self._powers(scores)
        total = from_neighbours(powers.new_ones(self.num_nodes, 1), powers, self.edges)[:, 0]
        return powers / total.index_select(0, self.ends[1])

    def attended(self, x: Tensor, scores: Tensor) -> Tensor:
        """For each node the mean over what its neighbours have, weighted by `softmax(scores)`; 0 without neighbours.

        Sum and weights' total are taken at once: what is divided are nodes, of which there are fewer than edges.

        Shapes:
            x, output: `(N, D)`.  scores: `(E,)`, edges sorted by target.
        """
        both = from_neighbours(torch.cat((self.checked(x), x.new_ones(len(x), 1)), 1), self._powers(scores), self.edges)
        total = both[:, -1:].clamp(min=0.5)  # it is at least 1 where there is a neighbour
        return both[:, :-1] * total.reciprocal()

    def _powers(self, scores: Tensor) -> Tensor:
        """Exponentials of scores, of each node's edges as parts of the largest one."""
        # the largest of a node's own: of a larger one all exponentials could vanish
        largest = largest_into(scores.detach(), self.edges)
        powers: Tensor = (scores - largest.index_select(0, self.ends[1])).exp()
        return powers

    def checked(self, x: Tensor) -> Tensor:
        """A tensor with a row for each node, where the graph lies.

        Raises:
            ShapeError: If it is none, or lies elsewhere.
        """
        if not isinstance(x, Tensor) or x.dim() < 1 or x.shape[0] != self.num_nodes:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ShapeError(f"node features are {got} for a graph of {self.num_nodes} nodes; wanted a row for each")
        if not (x.is_floating_point() or x.is_complex()):
            raise ShapeError(f"node features are {x.dtype}; wanted real or complex floating-point numbers")
        if x.device != self.device:
            raise ShapeError(f"node features are on {x.device}, the graph on {self.device}; wanted graph.to(x.device)")
        return x

    def with_loops(self) -> Graph:
        """The graph with an edge from each node to itself, of weight 1; nodes that have one keep theirs."""
        edges, weight = self._with_loops(), self.edge_weight
        if weight is not None:
            weight = torch.cat((weight, weight.new_ones(edges.shape[1] - len(weight))))
        return Graph._made(edges, self.num_nodes, weight, self.batch)

    def _with_loops(self) -> Tensor:
        source, target = self.edge_index
        bare = torch.ones(self.num_nodes, dtype=torch.bool, device=self.device)
        bare[source[source == target]] = False
        return torch.cat((self.edge_index, bare.nonzero()[:, 0].expand(2, -1)), 1)

    def copies(self, heads: int, loops: bool) -> Graph:
        """As many copies of the graph as there are heads, as one graph without weights; made once.

        Node `i` of head `h` is node `i heads + h`.

        Arguments:
            heads: How many copies.
            loops: Whether nodes get an edge to themselves first.
        """
        made = self._copies.get((heads, loops))
        if made is None:
            with kept():
                graph = Graph._made(self._with_loops(), self.num_nodes) if loops else self
                source, target = graph.ends[:, :, None] * heads + torch.arange(heads, device=self.device)
                made = Graph._made(torch.stack((source.flatten(), target.flatten())), self.num_nodes * heads)
            if heads == 1:
                made._ends = made.edge_index  # sorted already
            self._copies[heads, loops] = made
        return made

    def of_heads(self, values: Tensor, heads: int) -> Tensor:
        """What the edges of copies have, sorted by target, as what each edge of the graph has for each head.

        Shapes:
            values: `(E heads,)`.  output: `(E, heads)`, edges sorted by target.
        """
        made: Tensor = torch.empty_like(values).index_put((self.order,), values).unflatten(0, (-1, heads))
        return made

    def looped(self, loops: bool) -> Graph:
        """The graph without weights, each node with an edge to itself if `loops`; made once."""
        return self.copies(1, loops)

    def propagated(self, x: Tensor, loops: bool) -> Tensor:
        """For each node the sum over its neighbours, itself among them if `loops`, weighted by `propagation`.

        Shapes:
            x, output: `(N, *)`.

        Raises:
            ShapeError: If `x` has not a row for each node.
        """
        weight, turned = self._both_ways(loops, x.dtype.to_real() if x.is_complex() else x.dtype)
        if x.is_complex():
            weight, turned = weight.to(x.dtype), None
        return self.looped(loops).sum(x, weight, turned)

    def propagation(self, loops: bool, dtype: torch.dtype) -> Tensor:
        """Weights `w / sqrt(d_source d_target)` of the edges of `looped(loops)`, sorted by target.

        `d` is the sum of weights that come into a node; loops that are added weigh 1. Nodes that nothing comes into
        pass nothing on either: they have no degree to divide by. Made once, unless the graph's weights are learned.
        """
        return self._both_ways(loops, dtype)[0]

    def _both_ways(self, loops: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """What edges weigh in a propagation, sorted by target and, unless weights are learned, by source."""
        if self._learned:
            return self._scaled(loops, dtype), None
        made = self._propagation.get((loops, dtype))
        if made is None:
            with kept():
                weight = self._scaled(loops, dtype)
                made = weight, weight.index_select(0, self.looped(loops).edges.turn)
            self._propagation[loops, dtype] = made
        return made

    def _scaled(self, loops: bool, dtype: torch.dtype) -> Tensor:
        graph = self.looped(loops)
        weight = torch.ones(graph.num_edges, dtype=dtype, device=self.device)
        if self.edge_weight is not None:
            own = self.edge_weight.to(dtype)
            weight = torch.cat((own, weight[len(own) :])).index_select(0, self._places(loops))
        degree = from_neighbours(weight.new_ones(self.num_nodes, 1), weight, graph.edges)[:, 0]
        scale = torch.where(degree > 0, degree.clamp(min=torch.finfo(dtype).tiny).rsqrt(), torch.zeros_like(degree))
        source, target = graph.ends
        return weight * scale.index_select(0, source) * scale.index_select(0, target)

    def _places(self, loops: bool) -> Tensor:
        """Places of the edges, those that were added behind all others, sorted by target."""
        found = self._sorted_places.get(loops)
        if found is None:
            with kept():
                found = (Graph._made(self._with_loops(), self.num_nodes) if loops else self).order
            self._sorted_places[loops] = found
        return found

    def weighted(self, edge_weight: Tensor) -> Graph:
        """The graph with other weights; what was made of its edges is shared.

        Shapes:
            edge_weight: `(E,)`.

        Raises:
            ShapeError: If there is not a floating-point number for each edge.
        """
        check_weight(edge_weight, self.edge_index)
        made = object.__new__(Graph)
        made.__dict__.update(self.__dict__)
        made.edge_weight, made._sorted, made._propagation, made._repeated = edge_weight, None, {}, {}
        return made

    def to(self, target: torch.device | torch.dtype | str) -> Graph:
        """The graph on a device, or with weights of a dtype."""
        if isinstance(target, torch.dtype):
            return self.changed(lambda x: x.to(target) if x.is_floating_point() else x)
        return self.changed(lambda x: x.to(target))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Graph:
        """The graph with a function applied to its tensors, one that keeps their shapes."""
        parts = (self.edge_index, self.edge_weight, self.batch)
        edges, weight, batch = (None if part is None else change(part) for part in parts)
        assert edges is not None
        return Graph._made(edges, self.num_nodes, weight, batch)

    @staticmethod
    def batched(graphs: Sequence[Graph]) -> Graph:
        """Several graphs as one, its parts not connected; `batch` tells which node is whose.

        Raises:
            ShapeError: If there are none, or some have weights and others have not.
        """
        if not graphs or len({graph.edge_weight is None for graph in graphs}) > 1:
            raise ShapeError(f"got {len(graphs)} graphs; wanted at least one, and weights on all of them or on none")
        firsts = itertools.accumulate((graph.num_nodes for graph in graphs), initial=0)
        edges = torch.cat([graph.edge_index + first for graph, first in zip(graphs, firsts, strict=False)], 1)
        weights = [graph.edge_weight for graph in graphs if graph.edge_weight is not None]
        sizes = torch.tensor([graph.num_nodes for graph in graphs], device=graphs[0].device)
        ids = torch.arange(len(graphs), device=sizes.device).repeat_interleave(sizes)
        return Graph._made(edges, len(ids), torch.cat(weights) if weights else None, ids)

    def repeated(self, count: int) -> Graph:
        """As many copies of the graph, one behind the other, as one graph; made once, unless weights are learned."""
        if self._learned:
            return Graph.batched([self] * count)
        made = self._repeated.get(count)
        if made is None:
            with kept():
                made = Graph.batched([self] * count)
            self._repeated[count] = made
        return made

    def __repr__(self) -> str:
        weighted = ", weighted" if self.edge_weight is not None else ""
        parts = f", graphs={int(self.batch.max()) + 1}" if self.batch is not None and len(self.batch) else ""
        return f"Graph(nodes={self.num_nodes}, edges={self.num_edges}{weighted}{parts})"
