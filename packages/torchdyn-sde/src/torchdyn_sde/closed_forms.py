"""Three equations in ten dimensions, whose solutions, and so their gradients, are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from torchdyn_sde.field import SDEField

__all__ = ["CLOSED_FORMS", "ClosedForm", "closed_form"]

DTYPE = torch.float64
DIMENSIONS = 10


@dataclass(frozen=True)
class ClosedForm:
    """An equation in Ito's sense with diagonal noise, and its solution as a function of the path's value.

    Arguments:
        field: The equation; its parameters are one or two for each dimension.
        y0: The state at time 0, `(rows, 10)`.
        exact: The state at a time, of `y0`, the time and the path's value there.

    References:
        Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328

    Example:
        >>> import torch
        >>> from torchdyn_sde.closed_forms import closed_form
        >>> problem = closed_form("arctangent", rows=2)
        >>> zero = torch.zeros(2, 10, dtype=torch.float64)
        >>> torch.allclose(problem.exact(problem.y0, torch.tensor(0.0), zero), problem.y0)
        True
    """

    field: SDEField
    y0: Tensor
    exact: Callable[[Tensor, Tensor, Tensor], Tensor]


class _Growth(nn.Module):
    """Geometric Brownian motion."""

    def __init__(self, one: Tensor, two: Tensor) -> None:
        super().__init__()
        self.rate, self.spread = nn.Parameter(one), nn.Parameter(two)

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return self.rate * y

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return self.spread * y

    def exact(self, y0: Tensor, t: Tensor, w: Tensor) -> Tensor:
        return y0 * torch.exp((self.rate - 0.5 * self.spread**2) * t + self.spread * w)


class _Arctangent(nn.Module):
    """An arctangent of the path."""

    def __init__(self, one: Tensor, two: Tensor) -> None:
        super().__init__()
        self.slope = nn.Parameter(one)

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return -(self.slope**2) * y.sin() * y.cos() ** 3

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return self.slope * y.cos() ** 2

    def exact(self, y0: Tensor, t: Tensor, w: Tensor) -> Tensor:
        return torch.atan(self.slope * w + y0.tan())


class _Fading(nn.Module):
    """A linear equation whose coefficients fade with time."""

    def __init__(self, one: Tensor, two: Tensor) -> None:
        super().__init__()
        self.spread, self.pace = nn.Parameter(one), nn.Parameter(two)

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return self.pace / (1.0 + t).sqrt() - y / (2.0 * (1.0 + t))

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return (self.spread * self.pace / (1.0 + t).sqrt()).expand_as(y)

    def exact(self, y0: Tensor, t: Tensor, w: Tensor) -> Tensor:
        return (y0 + self.pace * (t + self.spread * w)) / (1.0 + t).sqrt()


CLOSED_FORMS: dict[str, Any] = {"growth": _Growth, "arctangent": _Arctangent, "fading": _Fading}


def closed_form(name: str, rows: int, seed: int = 0) -> ClosedForm:
    """An equation of a name.

    Arguments:
        name: growth, arctangent or fading.
        rows: How many paths.
        seed: Of its parameters and of where it starts.
    """
    numbers = torch.Generator().manual_seed(seed)
    one, two, start = (torch.randn(DIMENSIONS, generator=numbers, dtype=DTYPE).sigmoid() for _ in range(3))
    parts = CLOSED_FORMS[name](one, two)
    field = SDEField(parts.drift, parts.diffusion)
    field.parts = parts
    return ClosedForm(field, start.expand(rows, -1).clone(), parts.exact)
