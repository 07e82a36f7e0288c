"""How weights move with depth: equations for them, to go with ANODEv2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchdyn_augment.checks import checked_count
from torchdyn_augment.weights import Weights

__all__ = ["LearnedDynamics", "ReactionDiffusionAdvection", "WeightDynamics"]


class WeightDynamics(nn.Module):
    """A right-hand side for weights: `dw/dt = q(t, w)`, a tensor for each parameter of a network.

    Example:
        >>> import torch
        >>> from torchdyn_augment import WeightDynamics
        >>> class Decay(WeightDynamics):
        ...     def forward(self, t, weights):
        ...         return [-weight for weight in weights]
        >>> Decay()(torch.tensor(0.0), [torch.ones(2)])
        [tensor([-1., -1.])]
    """

    def forward(self, t: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        """The slopes of the weights."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(t, weights)")


class ReactionDiffusionAdvection(WeightDynamics):
    """Weights that react, spread and drift: `dw/dt = tanh(rho w + v . grad w + tau laplace w)`.

    Derivatives are differences between neighbours, around the ends, along the axes of a kernel (all but the first two
    of a convolution's weights), along the last axis of any other tensor. `tau = softplus(.)` is positive: what spreads
    is smoothed. Each parameter has coefficients of its own, which are learned; they start so that nothing moves but by
    a hundredth.

    Arguments:
        net: The network whose weights move.

    Raises:
        IncompatibleError: If it has no parameters.
        ShapeError: If it is called with the weights of another network.

    References:
        Zhang, Yao, Gholami, Gonzalez, Keutzer, Mahoney, Biros (2019), ANODEV2: a coupled neural ODE framework, section
        3. arXiv 1906.04596

    Example:
        >>> import torch
        >>> from torchdyn_augment import ReactionDiffusionAdvection
        >>> net = torch.nn.Linear(4, 3)
        >>> slopes = ReactionDiffusionAdvection(net)(torch.tensor(0.0), list(net.parameters()))
        >>> [tuple(slope.shape) for slope in slopes]
        [(3, 4), (3,)]
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self._weights = Weights(net)
        self._axes = tuple(tuple(range(2, len(shape))) or (len(shape) - 1,) for shape in self._weights.shapes)
        self.reaction = nn.Parameter(torch.full((len(self._axes),), 0.01))
        self.advection = nn.Parameter(torch.full((len(self._axes), max(map(len, self._axes))), 0.01))
        self.diffusion = nn.Parameter(torch.full((len(self._axes),), -4.6))  # softplus of it is 0.01

    def forward(self, t: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        slopes = []
        self._weights.check(weights)
        spread = functional.softplus(self.diffusion)
        for place, (weight, axes) in enumerate(zip(weights, self._axes, strict=True)):
            slope = self.reaction[place] * weight
            for number, axis in enumerate(axes if weight.dim() else ()):
                ahead, behind = weight.roll(-1, axis), weight.roll(1, axis)
                slope = slope + self.advection[place, number] * (ahead - behind) / 2
                slope = slope + spread[place] * (ahead - 2 * weight + behind)
            slopes.append(slope.tanh())
        return slopes


class LearnedDynamics(WeightDynamics):
    """Weights whose equation is a network of all of them and of depth, through a narrow layer.

    Its last layer starts at zero: weights rest until training moves them.

    Arguments:
        net: The network whose weights move.
        width: Of the narrow layer.

    Raises:
        IncompatibleError: If `net` has no parameters.
        OptionError: If the width is no whole number of at least 1.
        ShapeError: If it is called with the weights of another network.

    References:
        Zhang, Yao, Gholami, Gonzalez, Keutzer, Mahoney, Biros (2019), ANODEV2: a coupled neural ODE framework, section
        3. arXiv 1906.04596

    Example:
        >>> import torch
        >>> from torchdyn_augment import LearnedDynamics
        >>> net = torch.nn.Linear(4, 3)
        >>> LearnedDynamics(net, width=2)(torch.tensor(0.0), list(net.parameters()))[1].tolist()
        [0.0, 0.0, 0.0]
    """

    def __init__(self, net: nn.Module, width: int = 8) -> None:
        super().__init__()
        self._weights = Weights(net)
        self.narrow = nn.Linear(self._weights.count + 1, checked_count("width", width))
        self.wide = nn.Linear(width, self._weights.count)
        nn.init.zeros_(self.wide.weight)
        nn.init.zeros_(self.wide.bias)

    def forward(self, t: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        self._weights.check(weights)
        everything = torch.cat([weight.flatten() for weight in weights] + [t.reshape(1).to(weights[0].dtype)])
        return self._weights.apart(self.wide(self.narrow(everything).tanh()))
