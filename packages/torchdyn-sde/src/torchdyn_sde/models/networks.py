"""Networks that the models are made of, where a user brings none."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from torchdyn_core import OptionError
from torchdyn_core.field import per_row

__all__ = ["ElementwiseDiffusion", "LipSwish", "TimeNet", "check_size", "perceptron"]


class LipSwish(nn.Module):
    """`0.909 x sigmoid(x)`, which nowhere rises by more than 1.

    Shapes:
        input, output: any, alike.

    References:
        Chen, Behrmann, Duvenaud, Jacobsen (2019), Residual flows for invertible generative modeling. arXiv 1906.02735

    Example:
        >>> import torch
        >>> from torchdyn_sde.models.networks import LipSwish
        >>> LipSwish()(torch.zeros(2))
        tensor([0., 0.])
    """

    def forward(self, x: Tensor) -> Tensor:
        """The activation."""
        return 0.909 * nn.functional.silu(x)


def perceptron(
    in_dim: int, hidden_dim: int, out_dim: int, *, depth: int = 2, act: type[nn.Module] = nn.Tanh
) -> nn.Module:
    """Linear maps with activations between them.

    Arguments:
        in_dim: Of the input.
        hidden_dim: Width of hidden layers.
        out_dim: Of the output.
        depth: How many hidden layers.
        act: The activation's class.

    Example:
        >>> from torchdyn_sde.models.networks import perceptron
        >>> len(perceptron(2, 8, 3))
        5
    """
    sizes = (in_dim, *(hidden_dim,) * depth)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), act())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], out_dim))


class TimeNet(nn.Module):
    """A network of time, state and whatever else it is given, side by side on the last axis.

    Arguments:
        net: Takes all of it; time first.
        out_shape: Of the last axes of what it returns, where it is a matrix.

    Shapes:
        t: `()`, or `(B,)`, or `(B, 1)`.  y: `(B, d)`.  further: `(B, c)`.  output: `(B, out)`.

    Example:
        >>> import torch
        >>> from torchdyn_sde.models.networks import TimeNet
        >>> TimeNet(torch.nn.Linear(3, 2))(torch.tensor(0.5), torch.ones(4, 2)).shape
        torch.Size([4, 2])
    """

    def __init__(self, net: nn.Module, out_shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.net, self.out_shape = net, out_shape

    def forward(self, t: Tensor, y: Tensor, *further: Tensor) -> Tensor:
        """The network's value."""
        time = per_row(t, y).expand(*y.shape[:-1], 1)
        out: Tensor = self.net(torch.cat((time, y, *further), -1))
        return out.unflatten(-1, self.out_shape) if self.out_shape else out


class ElementwiseDiffusion(nn.Module):
    """A diffusion of diagonal noise: each entry's is a small network of that entry alone, and at least `least`.

    Arguments:
        dim: How many entries.
        hidden_dim: Width of each one's network.
        least: What it never falls below.
        start: About what it is where training begins.

    Shapes:
        y, output: `(*, dim)`.

    Raises:
        OptionError: If `least` is not above 0, or `start` not above `least`.

    Example:
        >>> import torch
        >>> from torchdyn_sde.models.networks import ElementwiseDiffusion
        >>> bool((ElementwiseDiffusion(3, least=0.01)(torch.tensor(0.0), torch.randn(5, 3)) > 0.01).all())
        True
    """

    def __init__(self, dim: int, hidden_dim: int = 8, *, least: float = 1e-3, start: float = 0.5) -> None:
        super().__init__()
        check_size(dim=dim, hidden_dim=hidden_dim)
        if not 0.0 < least < start < math.inf:
            raise OptionError(f"least={least!r}, start={start!r}; wanted 0 < least < start")
        self.least = least
        self.slope = nn.Parameter(torch.randn(dim, hidden_dim))
        self.shift = nn.Parameter(torch.randn(dim, hidden_dim))
        self.weight = nn.Parameter(0.1 / hidden_dim**0.5 * torch.randn(dim, hidden_dim))
        self.bias = nn.Parameter(torch.full((dim,), math.log(math.expm1(start - least))))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion."""
        hidden = torch.tanh(y[..., None] * self.slope + self.shift)
        return self.least + nn.functional.softplus((hidden * self.weight).sum(-1) + self.bias)


def check_size(**sizes: int) -> None:
    """Refuse a size that is none.

    Arguments:
        **sizes: Sizes by name.

    Raises:
        OptionError: If one is no whole number of at least 1.

    Example:
        >>> from torchdyn_sde.models.networks import check_size
        >>> check_size(dim=0)
        Traceback (most recent call last):
        torchdyn_core.errors.OptionError: dim=0; wanted a whole number >= 1
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise OptionError(f"{name}={size!r}; wanted a whole number >= 1")
