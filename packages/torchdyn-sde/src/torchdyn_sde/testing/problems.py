"""Stochastic problems with solutions that are known path by path, one for each kind of noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchdyn_sde.field import Interpretation, SDEField

__all__ = ["SDEProblem", "sde_problem"]

DTYPE = torch.float64
_COLUMNS = ((0.6, -0.3), (0.2, 0.5))


@dataclass(frozen=True)
class SDEProblem:
    """An equation, where it starts, and its solution, which is a function of the path's value, where that is so.

    Arguments:
        field: The equation.
        y0: The state at time 0.
        exact: The state at a time, given the path's value there; None where it takes the whole path to know it.

    Example:
        >>> import torch
        >>> from torchdyn_sde.testing import sde_problem
        >>> problem = sde_problem("diagonal", "ito", rows=4)
        >>> zero = torch.zeros(4, 2, dtype=torch.float64)
        >>> torch.allclose(problem.exact(torch.tensor(0.0), zero), problem.y0)
        True
    """

    field: SDEField
    y0: Tensor
    exact: Callable[[Tensor, Tensor], Tensor] | None


class _Arctangent(nn.Module):
    """`x = arctan(p w + q t + tan x0)`, whose noise is `p cos(x)^2` in any number of directions."""

    def __init__(self, columns: Tensor, ito: bool) -> None:
        super().__init__()
        self.columns = nn.Parameter(columns.to(DTYPE))
        self.ito = ito

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        pace = 0.4 * y.cos().square()
        squares = self.columns.square()
        spread = squares.sum(-1) if squares.dim() == 2 else squares
        return pace - spread * y.sin() * y.cos() ** 3 if self.ito else pace

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        slope = y.cos().square()
        return slope[..., None] * self.columns if self.columns.dim() == 2 else slope * self.columns

    def exact(self, y0: Tensor, t: Tensor, w: Tensor) -> Tensor:
        moved = w @ self.columns.T if self.columns.dim() == 2 else w * self.columns
        return torch.atan(moved + 0.4 * t + y0.tan())


class _Forced(nn.Module):
    """A pendulum with friction that noise pushes, stronger and weaker in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.columns = nn.Parameter(torch.tensor(_COLUMNS, dtype=DTYPE))

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.stack((y[..., 1], -2.0 * torch.sin(2.0 * y[..., 0]) - 0.5 * y[..., 1]), -1)

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return ((1.0 + 0.5 * torch.cos(2.0 * t))[..., None] * self.columns).expand(*y.shape, 2)


class _Mixing(nn.Module):
    """Two noises whose order matters: each turns what the other one pushes."""

    def __init__(self, ito: bool) -> None:
        super().__init__()
        self.strength = nn.Parameter(torch.tensor(0.8, dtype=DTYPE))
        self.ito = ito

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return -0.3 * y

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        a, b = y[..., 0], y[..., 1]
        one = torch.stack((torch.ones_like(a), torch.sin(2.0 * a)), -1)
        other = torch.stack((torch.cos(2.0 * b), torch.zeros_like(b)), -1)
        return self.strength * torch.stack((one, other), -1)


def sde_problem(noise: str, interpretation: Interpretation, rows: int) -> SDEProblem:
    """A problem of a kind of noise, with two components.

    Arguments:
        noise: diagonal, scalar, additive, general or commutative.
        interpretation: ito or stratonovich; where both have the same solution it is the same equation.
        rows: How many paths.
    """
    ito = interpretation == "ito"
    y0 = torch.linspace(-0.6, 0.8, 2 * rows, dtype=DTYPE).reshape(rows, 2)
    if noise in ("diagonal", "scalar", "commutative"):
        columns = torch.tensor(_COLUMNS) if noise == "commutative" else torch.tensor((0.8, -0.6))
        parts: _Arctangent | _Forced | _Mixing = _Arctangent(columns, ito)
    else:
        parts = _Forced() if noise == "additive" else _Mixing(ito)
    field = SDEField(parts.drift, parts.diffusion, noise=noise, interpretation=interpretation)
    field.parts = parts
    exact = parts.exact if isinstance(parts, _Arctangent) else None
    return SDEProblem(field, y0, None if exact is None else lambda t, w: exact(y0, t, w))
