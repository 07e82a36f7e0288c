"""What models of nodes have in common: an encoder, a neural ODE on the graph, a decoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_core import NeuralODE, Solution
from torchdyn_core.field import shallow_copy
from torchdyn_graph.bridges import for_net
from torchdyn_graph.field import GraphField
from torchdyn_graph.layer import GraphLayer, GraphSequential
from torchdyn_graph.temporal import TemporalGraph

__all__ = ["GraphModel", "on_graph"]


class GraphModel(nn.Module):
    """An encoder, a neural ODE over the nodes of a graph that comes with each call, a decoder.

    Of a `TemporalGraph` an encoder sees what holds where depth starts, a decoder what holds where it ends.

    Arguments:
        encoder: Makes states of what nodes have; called with the graph, too, if it is a layer that sees one.
        field: A `GraphField` without a graph.
        decoder: Makes scores of states.
        solve_options: Options of `NeuralODE`.

    Raises:
        ShapeError: If there is not a row for each node of the graph.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from torchdyn_graph import GraphConv, GraphField, GraphModel
        >>> model = GraphModel(nn.Linear(5, 8), GraphField(GraphConv(8, 8)), nn.Linear(8, 2))
        >>> model(torch.tensor([[0, 1], [1, 0]]), torch.ones(2, 5)).shape
        torch.Size([2, 2])
    """

    def __init__(self, encoder: nn.Module, field: GraphField, decoder: nn.Module, **solve_options: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.ode = NeuralODE(field, **solve_options)

    def forward(self, graph: Any, x: Tensor) -> Tensor:
        """Scores of the nodes."""
        graph = self._taken(graph, x)
        state = on_graph(self.ode, graph)(self.lifted(_seen(self.encoder, _at(graph, self.ode.t0), x)))
        return _seen(self.decoder, _at(graph, self.ode.t1), self.projected(state))

    def trajectory(self, graph: Any, x: Tensor, ts: Any) -> Solution:
        """The states of the nodes at times of choice."""
        graph = self._taken(graph, x)
        return on_graph(self.ode, graph).trajectory(self.lifted(_seen(self.encoder, _at(graph, self.ode.t0), x)), ts)

    def lifted(self, state: Tensor) -> Tensor:
        """What is solved from, of what the encoder made."""
        return state

    def projected(self, state: Tensor) -> Tensor:
        """What the decoder sees, of what was solved."""
        return state

    def _taken(self, graph: Any, x: Tensor) -> Any:
        return graph if isinstance(graph, TemporalGraph) else for_net(self, graph, x)


def on_graph(ode: NeuralODE, graph: Any, **options: Any) -> NeuralODE:
    """A neural ODE whose field is on a graph, with some options of its solve replaced; parameters are shared."""
    field = ode.field
    assert isinstance(field, GraphField)
    made = shallow_copy(ode)
    made._modules["field"] = field.on(graph)
    made.options = {**ode.options, **options}
    return made


def _at(graph: Any, t: float) -> Any:
    """The graph that an encoder sees where depth starts, a decoder where it ends."""
    return graph.at(torch.tensor(t)) if isinstance(graph, TemporalGraph) else graph


def _seen(layer: nn.Module, graph: Any, x: Tensor) -> Tensor:
    made: Tensor = layer(graph, x) if isinstance(layer, (GraphLayer, GraphSequential)) else layer(x)
    return made
