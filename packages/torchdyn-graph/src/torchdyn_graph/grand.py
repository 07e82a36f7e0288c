"""GRAND: graph networks that are diffusion equations."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from torchdyn_core import IncompatibleError
from torchdyn_core.tree import Tree
from torchdyn_graph.checks import check_size
from torchdyn_graph.diffusion import GraphDiffusion
from torchdyn_graph.field import GraphField
from torchdyn_graph.graph import Graph
from torchdyn_graph.layer import FeatureDropout
from torchdyn_graph.model import GraphModel
from torchdyn_graph.temporal import TemporalGraph

__all__ = ["GRAND", "DiffusionField"]


class DiffusionField(GraphField):
    """Diffusion on a graph, with the initial state as a source: `dx/dt = a (A - I) x + b x(t0)`.

    `a`, between 0 and 1, and `b` are learned; they start at 1/2 and at 0.

    Arguments:
        net: The diffusion.
        graph: The graph, in any form that layers take. None: `on` gives it later.
        linear: Whether the diffusivity `A` is that of the initial state throughout, which makes the equation a linear
            one; else it is that of the state.
        source: Whether there is one.

    Shapes:
        y: `(N, C)`, a row for each node.

    Raises:
        IncompatibleError: If there is no graph yet, or `net` is no diffusion; if edges change and `linear` is set.
        ShapeError: If the state has not a row for each node.

    References:
        Chamberlain, Rowbottom, Gorinova, Bronstein, Webb, Rossi (2021), GRAND: graph neural diffusion. arXiv 2106.10934

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE
        >>> from torchdyn_graph import DiffusionField, Graph, GraphDiffusion
        >>> field = DiffusionField(GraphDiffusion(4), Graph(torch.tensor([[0, 1], [1, 0]])))
        >>> NeuralODE(field)(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    diffusivity: Tensor | None
    origin: Tensor | None

    def __init__(self, net: GraphDiffusion, graph: Any = None, *, linear: bool = True, source: bool = True) -> None:
        if not isinstance(net, GraphDiffusion):
            raise IncompatibleError(f"net is {net!r}; wanted a GraphDiffusion")
        super().__init__(net, graph)
        self.linear = linear
        self.rate = nn.Parameter(torch.zeros(()))
        self.strength = nn.Parameter(torch.zeros(())) if source else None
        self.diffusivity = self.origin = None

    def begin(self, t0: Tensor, t1: Tensor, y0: Any) -> Self:
        begun = super().begin(t0, t1, y0)
        if self.linear and isinstance(self.graph, TemporalGraph):
            raise IncompatibleError(
                "DiffusionField got edges that change, and keeps the diffusivity of those that it began with; wanted "
                "linear=False"
            )
        net, graph = self._parts(t0)
        return begun.replace(diffusivity=net.diffusivity(graph, y0) if self.linear else None, origin=y0)

    def forward(self, t: Tensor, y: Any, *args: Tree) -> Tensor:
        """The slope."""
        if self.origin is None:
            raise IncompatibleError("DiffusionField has no initial state: no solve has begun it; wanted solve")
        net, graph = self._parts(t)
        diffusivity = net.diffusivity(graph, y) if self.diffusivity is None else self.diffusivity
        flow = torch.sigmoid(self.rate) * net.flow(graph, y, diffusivity)
        return flow if self.strength is None else flow + self.strength * self.origin

    def _parts(self, t: Tensor) -> tuple[GraphDiffusion, Graph]:
        net, graph = self.net, self.at(t)
        assert isinstance(net, GraphDiffusion) and isinstance(graph, Graph)
        return net, graph

    def extra_repr(self) -> str:
        return f"linear={self.linear}, source={self.strength is not None}"


class GRAND(GraphModel):
    """A linear layer, diffusion on the graph, another linear layer.

    Arguments:
        in_dim: What a node has.
        hidden_dim: What it has in the state.
        out_dim: How many scores it gets.
        linear: Whether the diffusivity is that of the initial state throughout (GRAND-l), or of the state (GRAND-nl).
        source: Whether the initial state is a source.
        attention: Size of all keys together.
        heads: Of the attention.
        input_dropout: Share of the input that is dropped in training.
        dropout: Share of the state before the last layer that is.
        solve_options: Options of `NeuralODE`: `solver`, `controller`, `adjoint`, `compile`, `t1`, ...

    Shapes:
        x: `(N, in_dim)`, dense or sparse.  output: `(N, out_dim)`.

    Raises:
        ShapeError: If `x` has not a row for each node of the graph.
        OptionError: If a size is no whole number of at least 1, the heads do not divide the attention, or a share is
            not in [0, 1).

    References:
        Chamberlain, Rowbottom, Gorinova, Bronstein, Webb, Rossi (2021), GRAND: graph neural diffusion. arXiv 2106.10934

    Example:
        >>> import torch
        >>> from torchdyn_graph import GRAND, Graph
        >>> GRAND(5, 8, 2)(Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])), torch.ones(3, 5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        *,
        linear: bool = True,
        source: bool = True,
        attention: int = 16,
        heads: int = 1,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        **solve_options: Any,
    ) -> None:
        check_size(in_dim=in_dim, hidden_dim=hidden_dim, out_dim=out_dim)
        super().__init__(
            encoder=nn.Sequential(FeatureDropout(input_dropout), nn.Linear(in_dim, hidden_dim)),
            field=DiffusionField(GraphDiffusion(hidden_dim, attention, heads), linear=linear, source=source),
            decoder=nn.Sequential(nn.ReLU(), FeatureDropout(dropout), nn.Linear(hidden_dim, out_dim)),
            **solve_options,
        )
