"""ANODEv2: weights that move by an equation of their own while they move the state."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from torchdyn_augment.checks import checked_count, checked_layer
from torchdyn_augment.weight_dynamics import WeightDynamics
from torchdyn_augment.weights import Weights
from torchdyn_core import RK4, Fixed, IncompatibleError, ShapeError, VectorField, solve
from torchdyn_core.dropout import begin_layers
from torchdyn_core.tree import Tree

__all__ = ["ANODEv2", "WeightAugmentation"]


class ANODEv2(VectorField):
    """A network whose weights solve an equation of their own: `dw/dt = q(t, w)`, `dy/dt = f(y; w(t))`.

    The weights start from the network's parameters, which are learned, as those of the equation are. There are two
    configurations, as in the paper:

    - together (`grid=None`): state and weights are one state, `(y, [w, ...])`, and take steps in common. Solve with
      `augmentation=field.augmentation`, which puts the weights beside `y` and takes them away.
    - on their own grid (`grid=n`): before a solve begins, the weights take `n` steps of the classical Runge-Kutta
      method over the whole depth; the state's solver then reads them off cubic Hermite interpolation, and its steps
      follow from the state alone. A solve that is resumed keeps them, and ends where they do.

    Arguments:
        net: A network of the state.
        dynamics: The weights' equation: `ReactionDiffusionAdvection(net)`, `LearnedDynamics(net)` or another one.
        grid: How many steps the weights take on their own grid; None: together with the state.

    Shapes:
        y: what `net` takes; together, `(y, weights)`.  t: `()`.

    Raises:
        IncompatibleError: If `net` has no parameters, or `dynamics` are none; if steps are per sample; if a solve with
            `grid` goes on where its weights have ended.
        OptionError: If `grid` is no whole number of at least 1.
        ShapeError: If the state holds no weights where it should, or the dynamics give other shapes than the weights'.

    References:
        Zhang, Yao, Gholami, Gonzalez, Keutzer, Mahoney, Biros (2019), ANODEV2: a coupled neural ODE framework.
        arXiv 1906.04596

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE
        >>> from torchdyn_augment import ANODEv2, LearnedDynamics
        >>> net = torch.nn.Linear(2, 2)
        >>> field = ANODEv2(net, LearnedDynamics(net))
        >>> NeuralODE(field, augmentation=field.augmentation)(torch.ones(5, 2)).shape
        torch.Size([5, 2])
        >>> NeuralODE(ANODEv2(net, LearnedDynamics(net), grid=4))(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    refuses_rows = "weights have no batch axis: all rows have them in common, at one time"
    path: list[Tensor] | None

    def __init__(self, net: nn.Module, dynamics: WeightDynamics, *, grid: int | None = None) -> None:
        super().__init__()
        self._weights = Weights(net)
        self.net, self.dynamics = net, checked_layer("dynamics", dynamics)
        self.grid = None if grid is None else checked_count("grid", grid)
        self.path = None

    @property
    def augmentation(self) -> WeightAugmentation | None:
        """What puts the weights beside the state; None where they have a grid of their own."""
        return WeightAugmentation(self.net) if self.grid is None else None

    def begin(self, t0: Tensor, t1: Tensor, y0: Tree) -> Self:
        if self.grid is None:
            self._check_state(y0)
            return self
        if isinstance(y0, tuple):
            raise ShapeError("ANODEv2 with grid= got weights beside the state; wanted it without augmentation=")
        return self.replace(path=self._solved(t0, t1))

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        # core asks in every solve, also in one that is resumed, whose field has begun before and elsewhere
        if self.path is not None and not torch.compiler.is_compiling():
            first, last = self.path[0].detach()[[0, -1]].to(t1).aminmax()
            beyond = 1e-6 * (last - first)
            if not bool(((t1 >= first - beyond) & (t1 <= last + beyond)).all()):
                raise IncompatibleError(
                    f"ANODEv2's weights took their {self.grid} steps from t = {float(first):g} to {float(last):g}, and "
                    f"the solve goes on to {float(t1):g}; wanted one solve over the whole span, or grid=None"
                )
        return None

    def forward(self, t: Tensor, y: Any, *args: Tree) -> Any:
        """The slope of the state; together, that of the weights, too."""
        if self.grid is not None:
            if self.path is None:
                raise IncompatibleError("ANODEv2 has no weights yet: no solve has begun it; wanted solve or NeuralODE")
            return self._weights.call(self.net, self._interpolated(t), y, *args)
        self._check_state(y)
        state, weights = y
        return self._weights.call(self.net, weights, state, *args), self._slopes(self.dynamics, t, weights)

    def _slopes(self, dynamics: nn.Module, t: Tensor, weights: list[Tensor]) -> list[Tensor]:
        slopes = list(dynamics(t, weights))
        got = [tuple(slope.shape) for slope in slopes]
        if got != list(self._weights.shapes):
            raise ShapeError(f"the dynamics gave {got}; wanted the weights' shapes, {list(self._weights.shapes)}")
        return slopes

    def _check_state(self, y: Any) -> None:
        if not isinstance(y, tuple) or len(y) != 2:
            raise ShapeError(
                f"ANODEv2 got a state that is a {type(y).__name__}; wanted (y, weights), as "
                "augmentation=field.augmentation makes it, or grid=n"
            )

    def _solved(self, t0: Tensor, t1: Tensor) -> list[Tensor]:
        """Times of the knots, and each parameter's values and slopes there."""
        assert self.grid is not None
        own = self._weights.of(self.net)
        dynamics = begin_layers(self.dynamics)  # one mask for the weights' solve and for the slopes at its knots
        share = torch.linspace(0.0, 1.0, self.grid + 1, dtype=t0.dtype, device=t0.device)
        knots = t0 + (t1 - t0) * share
        if bool(t0 == t1):  # nowhere to go: a path that stands still
            values = [weight.expand(self.grid + 1, *weight.shape) for weight in own]
            return [knots + share, *values, *(torch.zeros_like(value) for value in values)]
        options: dict[str, Any] = {"solver": RK4(), "controller": Fixed(grid=knots.detach())}
        values = solve(lambda t, weights: self._slopes(dynamics, t, weights), own, knots, **options).ys
        slopes = [
            self._slopes(dynamics, t.to(own[0].dtype), [part[row] for part in values]) for row, t in enumerate(knots)
        ]
        return [knots, *values, *(torch.stack(parts) for parts in zip(*slopes, strict=True))]

    def _interpolated(self, t: Tensor) -> list[Tensor]:
        assert self.path is not None
        knots, parts = self.path[0].to(t), self.path[1:]
        values, slopes = parts[: len(parts) // 2], parts[len(parts) // 2 :]
        forward = knots[-1] >= knots[0]
        passed = torch.where(forward, t >= knots, t <= knots)[1:-1].sum()
        t0, t1 = knots.index_select(0, passed.reshape(1)), knots.index_select(0, passed.reshape(1) + 1)
        h = t1 - t0
        s = (t - t0) / h
        places = torch.stack((passed, passed + 1))
        made = []
        for value, slope in zip(values, slopes, strict=True):
            (w0, w1), (k0, k1) = value.index_select(0, places), slope.index_select(0, places)
            inner = (1 - 2 * s) * (w1 - w0) + (s - 1) * h * k0 + s * h * k1
            made.append((1 - s) * w0 + s * w1 + s * (s - 1) * inner)
        return [part.reshape(shape) for part, shape in zip(made, self._weights.shapes, strict=True)]


class WeightAugmentation(nn.Module):
    """Puts a network's weights beside the state, from where they move along with it.

    It does not own the network: parameters, `state_dict` and moves to another device or dtype are the field's, which
    the network belongs to.

    Arguments:
        net: The network; its parameters are where the weights start.

    Shapes:
        lift: `y` to `(y, [w, ...])`; `project` the other way.

    Raises:
        IncompatibleError: If the network has no parameters.

    Example:
        >>> import torch
        >>> from torchdyn_augment import WeightAugmentation
        >>> y, weights = WeightAugmentation(torch.nn.Linear(2, 2)).lift(torch.ones(5, 2))
        >>> [tuple(weight.shape) for weight in weights]
        [(2, 2), (2,)]
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        # in a tuple, where torch does not look for modules: torch.func.functional_call, for one, spoils a layer in
        # which a module stands twice
        self._held = (net,)
        self._weights = Weights(net)

    def lift(self, y: Tree) -> Any:
        """The state, and the weights."""
        return y, self._weights.of(self._held[0])

    def project(self, y: Any) -> Tree:
        """The state."""
        return y[0]
