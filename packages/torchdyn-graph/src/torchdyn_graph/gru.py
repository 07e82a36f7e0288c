"""Series on the nodes of a graph, observed at irregular times: flows between observations, jumps at them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_core import IrregularSeries, NeuralODE, OptionError, ShapeError
from torchdyn_core.field import shallow_copy
from torchdyn_graph.bridges import native
from torchdyn_graph.conv import GraphConv
from torchdyn_graph.field import GraphField
from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import GraphSequential

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
        net: The field's network, called as `net(graph, x)`. Default: two filters of
            first order with a tanh between.
        solve_options: Options of `solve`: `solver`, `controller`, `adjoint`, `compile`, ...

    Shapes:
        series: values `(B, L, N in_dim)`, node after node.  output: `(B, L, N out_dim)`, likewise.

    Raises:
        OptionError: If an option is the model's own to set.
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
        states = self._states(made.repeated(count), series)
        decoded: Tensor = self.decoder(torch.stack(states)).unflatten(1, (count, -1))
        return decoded.movedim(0, 1).flatten(2)

    def _states(self, graph: Graph, series: IrregularSeries) -> list[Tensor]:
        """The states of all nodes of all series at each row, before what is observed there."""
        assert series.mask is not None
        observed = series.mask.any(2)
        stops = observed.any(0).tolist()
        ode = self._on(graph)
        state = series.values.new_zeros(graph.num_nodes, self.hidden_dim)
        states, row, last = [state], 0, len(stops) - 1
        while True:
            if stops[row]:
                state = torch.where(observed[:, row][graph.batch, None], self._jumped(graph, series, row, state), state)
            if row == last:
                return states
            stop = next(later for later in range(row + 1, last + 1) if stops[later] or later == last)
            path = ode.trajectory(state, series.times[:, row : stop + 1].mT).ys
            states += path[1:].unbind()
            state, row = states[-1], stop

    def _jumped(self, graph: Graph, series: IrregularSeries, row: int, state: Tensor) -> Tensor:
        assert series.mask is not None
        seen = series.mask[:, row]
        parts = (series.values[:, row].where(seen, 0.0), seen.to(state.dtype))
        x = torch.cat([part.reshape(-1, self.in_dim) for part in parts], 1)
        jumped: Tensor = self.cell(graph, x, state)
        return jumped

    def _on(self, graph: Graph) -> NeuralODE:
        """The neural ODE on a graph, each part of which takes steps of its own."""
        field = self.ode.field
        assert isinstance(field, GraphField)
        ode = shallow_copy(self.ode)
        ode._modules["field"] = field.on(graph)
        ode.options = {**self.ode.options, "per_sample": graph.batch}
        return ode


def _filter(in_features: int, out_features: int) -> GraphConv:
    """A Chebyshev filter of first order: a node has to be told from its neighbours."""
    return GraphConv(in_features, out_features, loops=False, own=True)
