"""Graph convolutional differential equations: a graph network whose depth is solved."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from torchdyn_core import NeuralODE, Solution, SolveDropout
from torchdyn_core.field import shallow_copy
from torchdyn_graph.bridges import for_net
from torchdyn_graph.conv import GraphConv
from torchdyn_graph.field import GraphField
from torchdyn_graph.layer import GraphSequential

__all__ = ["GCDE"]


class GCDE(nn.Module):
    """A graph convolution, a neural ODE of two, and another one: classes of nodes from what they have.

    Arguments:
        in_dim: What a node has.
        hidden_dim: What it has in the state.
        out_dim: How many scores it gets.
        net: The field's network, called as `net(graph, x)`. Default: two convolutions with a softplus between.
        dropout: Share of the input, and of the state before the last layer, that is dropped in training.
        field_dropout: Share of the state that is dropped within the field, in a mask that stays for a solve.
        solve_options: Options of `NeuralODE`: `solver`, `controller`, `adjoint`, `compile`, `t1`, ...

    Shapes:
        x: `(N, in_dim)`.  output: `(N, out_dim)`.

    Raises:
        ShapeError: If `x` has not a row for each node of the graph.
        OptionError: If a share is not in [0, 1).

    References:
        Poli, Massaroli, Park, Yamashita, Asama, Park (2019), Graph neural ordinary differential equations. arXiv
        1911.07532

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed
        >>> from torchdyn_graph import GCDE, Graph
        >>> model = GCDE(5, 8, 2, solver="rk4", controller=Fixed(steps=1))
        >>> model(Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])), torch.ones(3, 5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        *,
        net: nn.Module | None = None,
        dropout: float = 0.0,
        field_dropout: float = 0.0,
        **solve_options: Any,
    ) -> None:
        super().__init__()
        if net is None:
            net = GraphSequential(
                SolveDropout(field_dropout), GraphConv(hidden_dim, hidden_dim), nn.Softplus(),
                SolveDropout(field_dropout), GraphConv(hidden_dim, hidden_dim),
            )  # fmt: skip
        self.encoder = GraphSequential(nn.Dropout(dropout), GraphConv(in_dim, hidden_dim), nn.ReLU())
        self.ode = NeuralODE(GraphField(net), **solve_options)
        self.decoder = GraphSequential(nn.Dropout(dropout), GraphConv(hidden_dim, out_dim))

    def forward(self, graph: Any, x: Tensor) -> Tensor:
        """Scores of the nodes."""
        graph = for_net(self.encoder, graph, x)
        scores: Tensor = self.decoder(graph, self._on(graph)(self.encoder(graph, x)))
        return scores

    def trajectory(self, graph: Any, x: Tensor, ts: Any) -> Solution:
        """The states of the nodes at times of choice."""
        graph = for_net(self.encoder, graph, x)
        return self._on(graph).trajectory(self.encoder(graph, x), ts)

    def _on(self, graph: Any) -> NeuralODE:
        """The neural ODE on a graph."""
        field = self.ode.field
        assert isinstance(field, GraphField)
        ode = shallow_copy(self.ode)
        ode._modules["field"] = field.on(graph)
        return ode
