"""Graph convolutional differential equations: a graph network whose depth is solved."""

from __future__ import annotations

from typing import Any

from torch import nn

from torchdyn_core import SolveDropout
from torchdyn_graph.checks import check_size
from torchdyn_graph.conv import GraphConv
from torchdyn_graph.field import GraphField
from torchdyn_graph.layer import FeatureDropout, GraphSequential
from torchdyn_graph.model import GraphModel

__all__ = ["GCDE"]


class GCDE(GraphModel):
    """A graph convolution, a neural ODE of two, and another one: classes of nodes from what they have.

    Arguments:
        in_dim: What a node has.
        hidden_dim: What it has in the state.
        out_dim: How many scores it gets.
        net: The field's network, called as `net(graph, x)`. Default: two convolutions with a softplus between.
        input_dropout: Share of the input that is dropped in training.
        dropout: Share of the state before the last layer that is.
        field_dropout: Share of the state that is dropped within the field, in a mask that stays for a solve.
        solve_options: Options of `NeuralODE`: `solver`, `controller`, `adjoint`, `compile`, `t1`, ...

    Shapes:
        x: `(N, in_dim)`, dense or sparse.  output: `(N, out_dim)`.

    Raises:
        ShapeError: If `x` has not a row for each node of the graph.
        OptionError: If a share is not in [0, 1), or a size no whole number of at least 1.

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
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        field_dropout: float = 0.0,
        **solve_options: Any,
    ) -> None:
        check_size(in_dim=in_dim, hidden_dim=hidden_dim, out_dim=out_dim)
        if net is None:
            net = GraphSequential(
                SolveDropout(field_dropout), GraphConv(hidden_dim, hidden_dim), nn.Softplus(),
                SolveDropout(field_dropout), GraphConv(hidden_dim, hidden_dim),
            )  # fmt: skip
        super().__init__(
            encoder=GraphSequential(FeatureDropout(input_dropout), GraphConv(in_dim, hidden_dim), nn.ReLU()),
            field=GraphField(net),
            decoder=GraphSequential(FeatureDropout(dropout), GraphConv(hidden_dim, out_dim)),
            **solve_options,
        )
