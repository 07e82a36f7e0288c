"""GraphCON: graph networks whose nodes are coupled oscillators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from torchdyn_core import OptionError, ShapeError
from torchdyn_core.tree import Tree
from torchdyn_graph.checks import check_size
from torchdyn_graph.conv import GraphConv
from torchdyn_graph.field import GraphField
from torchdyn_graph.layer import FeatureDropout
from torchdyn_graph.model import GraphModel

__all__ = ["GraphCON", "OscillatorField"]


class OscillatorField(GraphField):
    """Damped oscillators that a network couples: `x'' = sigma(net(graph, x)) - stiffness x - damping x'`.

    Arguments:
        net: Called as `net(graph, x)`.
        graph: The graph, in any form that `net` takes. None: `on` gives it later.
        stiffness: How strongly nodes are drawn to zero, `gamma`.
        damping: How strongly they are slowed down, `alpha`.
        activation: `sigma`.

    Shapes:
        y: `(N, 2 C)`: places, and behind them velocities.

    Raises:
        IncompatibleError: If there is no graph yet, or `net` cannot be called.
        OptionError: If stiffness or damping is below 0.
        ShapeError: If the state has not a row for each node, or not as many velocities as places.

    References:
        Rusch, Chamberlain, Rowbottom, Mishra, Bronstein (2022), Graph-coupled oscillator networks. arXiv 2202.02296

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE
        >>> from torchdyn_graph import Graph, GraphConv, OscillatorField
        >>> field = OscillatorField(GraphConv(4, 4), Graph(torch.tensor([[0, 1], [1, 0]])))
        >>> NeuralODE(field)(torch.ones(2, 8)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        net: nn.Module,
        graph: Any = None,
        *,
        stiffness: float = 1.0,
        damping: float = 1.0,
        activation: Callable[[Tensor], Tensor] = torch.relu,
    ) -> None:
        super().__init__(net, graph)
        for name, value in (("stiffness", stiffness), ("damping", damping)):
            if not value >= 0:
                raise OptionError(f"{name}={value!r}; wanted a number >= 0")
        self.stiffness, self.damping, self.activation = stiffness, damping, activation

    def begin(self, t0: Tensor, t1: Tensor, y0: Any) -> Self:
        if not isinstance(y0, Tensor) or y0.dim() != 2 or y0.shape[1] % 2:
            got = tuple(y0.shape) if isinstance(y0, Tensor) else type(y0).__name__
            raise ShapeError(f"the state is {got}; wanted (N, 2 C): places, and behind them as many velocities")
        return super().begin(t0, t1, y0)

    def forward(self, t: Tensor, y: Any, *args: Tree) -> Tensor:
        """Velocities and accelerations."""
        x, v = y.chunk(2, 1)
        return torch.cat((v, self.activation(self.net(self.at(t), x)) - self.stiffness * x - self.damping * v), 1)

    def extra_repr(self) -> str:
        return f"stiffness={self.stiffness}, damping={self.damping}"


class GraphCON(GraphModel):
    """A linear layer, coupled oscillators that start with the velocities that they have places, another linear layer.

    Arguments:
        in_dim: What a node has.
        hidden_dim: What it has in the state, as place and as velocity.
        out_dim: How many scores it gets.
        net: What couples nodes, called as `net(graph, x)`. Default: a convolution.
        stiffness: How strongly nodes are drawn to zero.
        damping: How strongly they are slowed down.
        input_dropout: Share of the input that is dropped in training.
        dropout: Share of the state before the last layer that is.
        solve_options: Options of `NeuralODE`: `solver`, `controller`, `adjoint`, `compile`, `t1`, ...

    Shapes:
        x: `(N, in_dim)`, dense or sparse.  output: `(N, out_dim)`.

    Raises:
        ShapeError: If `x` has not a row for each node of the graph.
        OptionError: If a share is not in [0, 1), or a size no whole number of at least 1.

    References:
        Rusch, Chamberlain, Rowbottom, Mishra, Bronstein (2022), Graph-coupled oscillator networks. arXiv 2202.02296

    Example:
        >>> import torch
        >>> from torchdyn_graph import Graph, GraphCON
        >>> GraphCON(5, 8, 2)(Graph(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])), torch.ones(3, 5)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int,
        out_dim: int,
        *,
        net: nn.Module | None = None,
        stiffness: float = 1.0,
        damping: float = 1.0,
        input_dropout: float = 0.0,
        dropout: float = 0.0,
        **solve_options: Any,
    ) -> None:
        check_size(in_dim=in_dim, hidden_dim=hidden_dim, out_dim=out_dim)
        super().__init__(
            encoder=nn.Sequential(FeatureDropout(input_dropout), nn.Linear(in_dim, hidden_dim)),
            field=OscillatorField(
                GraphConv(hidden_dim, hidden_dim) if net is None else net, stiffness=stiffness, damping=damping
            ),
            decoder=nn.Sequential(FeatureDropout(dropout), nn.Linear(hidden_dim, out_dim)),
            **solve_options,
        )

    def lifted(self, state: Tensor) -> Tensor:
        return torch.cat((state, state), 1)

    def projected(self, state: Tensor) -> Tensor:
        return state.chunk(2, 1)[0]
