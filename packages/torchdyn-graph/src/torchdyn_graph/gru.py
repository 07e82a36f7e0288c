"""Series on the nodes of a graph, observed at irregular times: flows between observations, jumps at them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_core import IrregularSeries, NeuralODE, OptionError, ShapeError
from torchdyn_graph.bridges import native
from torchdyn_graph.checks import check_size
from torchdyn_graph.conv import GraphConv
from torchdyn_graph.field import GraphField
from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import GraphSequential
from torchdyn_graph.model import on_graph

__all__ = ["GCDEGRU", "GraphGRUCell"]

_FIXED = {
    "t0": "spans are those between observations",
    "t1": "spans are those between observations",
    "augmentation": "the state is the model's own",
    "save": "what is reported is the state, which the model decodes",
    "per_sample": "each series takes steps of its own",
}


class GraphGRUCell(nn.Module):
    """A gated recurrent unit whose linear maps are filters on a graph: nodes see what neighbours observed, too.

    Arguments:
        in_features: What a node observes.
        hidden_features: What it has in the state.

    Shapes:
        x: `(N, in_features)`.  state, output: `(N, hidden_features)`.

    Raises:
        ShapeError: If `x` or the state has not a row for each node of the graph.

    References:
        Zhao, Chen, Cho (2018), Graph convolutional gated recurrent units. Seo, Defferrard, Vandergheynst, Bresson
        (2016), Structured sequence modeling with graph convolutional recurrent networks. arXiv 1612.07659

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, GraphGRUCell
        >>> graph = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> GraphGRUCell(2, 4)(graph, torch.ones(3, 2), torch.zeros(3, 4)).shape
        torch.Size([3, 4])
    """

    def __init__(self, in_features: int, hidden_features: int) -> None:
        super().__init__()
        features = in_features + hidden_features
        self.gates = _filter(features, 2 * hidden_features)
        self.candidate = _filter(features, hidden_features)

    def forward(self, graph: Any, x: Tensor, state: Tensor) -> Tensor:
        """The state behind an observation."""
        made = native(graph, x)
        update, reset = self.gates(made, torch.cat((made.checked(x), made.checked(state)), 1)).sigmoid().chunk(2, 1)
        candidate = self.candidate(made, torch.cat((x, reset * state), 1)).tanh()
        out: Tensor = torch.lerp(candidate, state, update)
        return out


class GCDEGRU(nn.Module):
    """A graph differential equation between observations and a graph GRU's jump at them: forecasts for every node.

    All nodes start at zero where their series does. What is returned for a row of the series is what is expected there
    of all rows before: the row's own observation is seen behind it. A row in which nothing is observed is only asked
    for; rows behind the last observation are forecasts. Each series takes steps of its own.

    Arguments:
        in_dim: What a node observes.
        hidden_dim: What it has in the state.
        out_dim: What is forecast for it.
        net: The field's network, called as `net(graph, x)`. Default: two filters of first order
            with a tanh between.
        solve_options: Options of `solve`: `solver`, `controller`, `adjoint`, `compile`, ...

    Shapes:
        series: values `(B, L, N in_dim)`, node after node.  output: `(B, L, N out_dim)`, likewise.

    Raises:
        OptionError: If an option is the model's own to set, or a size no whole number of at least 1.
        ShapeError: If the values are not those of all nodes of the graph.

    References:
        Poli, Massaroli, Park, Yamashita, Asama, Park (2019), Graph neural ordinary differential equations. arXiv
        1911.07532

    Example:
        >>> import torch
        >>> from torchdyn_core import IrregularSeries
        >>> from torchdyn_graph import GCDEGRU, Graph
        >>> graph = Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]))
        >>> series = IrregularSeries(torch.tensor([[0.0, 0.3, 1.0], [0.1, 0.2, 0.9]]), torch.ones(2, 3, 3 * 2))
        >>> GCDEGRU(2, 8, 2)(graph, series).shape
        torch.Size([2, 3, 6])
    """

    def __init__(
        self, in_dim: int, hidden_dim: int, out_dim: int, *, net: nn.Module | None = None, **solve_options: Any
    ) -> None:
        super().__init__()
        check_size(in_dim=in_dim, hidden_dim=hidden_dim, out_dim=out_dim)
        for name in _FIXED.keys() & solve_options.keys():
            raise OptionError(f"GCDEGRU takes no option {name!r}: {_FIXED[name]}")
        if net is None:
            net = GraphSequential(_filter(hidden_dim, hidden_dim), nn.Tanh(), _filter(hidden_dim, hidden_dim))
        self.in_dim, self.hidden_dim = in_dim, hidden_dim
        self.ode = NeuralODE(GraphField(net), **solve_options)
        self.cell = GraphGRUCell(2 * in_dim, hidden_dim)  # what is observed, and whether it is
        self.decoder = nn.Linear(hidden_dim, out_dim)

    def forward(self, graph: Any, series: IrregularSeries) -> Tensor:
        """What is expected at each row of the series, of the rows before."""
        count, length, width = series.values.shape
        made = native(graph, series.values.new_empty(width // self.in_dim, 0))
        if width != made.num_nodes * self.in_dim:
            raise ShapeError(
                f"values are {tuple(series.values.shape)}; wanted {made.num_nodes} nodes with {self.in_dim} values each"
            )
        if not count * length:
            return series.values.new_zeros(count, length, made.num_nodes * self.decoder.out_features)
        decoded: Tensor = self.decoder(self._states(made.repeated(count), series))
        return decoded.movedim(0, 1).flatten(2)

    def _states(self, graph: Graph, series: IrregularSeries) -> Tensor:
        """The states of all nodes of all series at each row, `(L, B, N, H)`, before what is observed there.

        A stretch leads from a row with an observation, or the first one, to the next one of the same series: where a
        solve begins and ends is no matter of the others in the batch. Rows between are read off it.
        """
        assert series.mask is not None
        count, length = series.times.shape
        observed = series.mask.any(2)
        ode, begins = on_graph(self.ode, graph, per_sample=graph.batch), _stretches(observed)
        ends = torch.cat((begins[1:], torch.full_like(begins[:1], length - 1)))
        state = series.values.new_zeros(graph.num_nodes, self.hidden_dim)
        each, rows = (torch.arange(size, device=state.device) for size in (count, length))
        found, place, held = [state[None]], torch.zeros(length, count, dtype=torch.long, device=state.device), 1
        for begin, end in zip(begins, ends, strict=True):
            jumps = observed[each, begin][graph.batch, None]
            state = torch.where(jumps, self._jumped(graph, series, begin, state), state)
            width = int((end - begin).max())
            if not width:
                continue
            reached = torch.minimum(begin + rows[: width + 1, None], end)
            path = ode.trajectory(state, series.times[each, reached]).ys
            inside = (rows[:, None] > begin) & (rows[:, None] <= end)
            place = torch.where(inside, held + rows[:, None] - begin - 1, place)
            found.append(path[1:])
            state, held = path[-1], held + width
        states: Tensor = torch.cat(found).unflatten(1, (count, -1))[place, each]
        return states

    def _jumped(self, graph: Graph, series: IrregularSeries, rows: Tensor, state: Tensor) -> Tensor:
        assert series.mask is not None
        each = torch.arange(len(rows), device=rows.device)
        values, seen = series.values[each, rows], series.mask[each, rows]
        parts = (values.where(seen, 0.0), seen.to(state.dtype))
        x = torch.cat([part.reshape(-1, self.in_dim) for part in parts], 1)
        jumped: Tensor = self.cell(graph, x, state)
        return jumped


def _stretches(observed: Tensor) -> Tensor:
    """Rows where the stretches of each series begin, `(K, B)`: the first one, and those with an observation.

    A series with fewer has its last row for the others.
    """
    begins = observed.clone()
    begins[:, 0] = True
    length = observed.shape[1]
    rows = torch.arange(length, device=observed.device)
    sorted_rows = torch.where(begins, rows, length).sort(1).values[:, : int(begins.sum(1).max())]
    return sorted_rows.clamp(max=length - 1).mT


def _filter(in_features: int, out_features: int) -> GraphConv:
    """A Chebyshev filter of first order: a node has to be told from its neighbours."""
    return GraphConv(in_features, out_features, loops=False, own=True)
