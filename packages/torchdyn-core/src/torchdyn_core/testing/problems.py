"""Initial value problems with solutions in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchdyn_core.field import VectorField, cast, per_row, real_dtype
from torchdyn_core.tree import Tree, tree_map

__all__ = ["Problem", "Rotation", "complex_rotation", "reversed_in_time", "rotation", "tree_rotation"]

DTYPE = torch.float64


@dataclass(frozen=True)
class Problem:
    """An initial value problem and its solution.

    Arguments:
        field: The field, of the class that the solver under test steps.
        exact: The solution at times `(T,)`, time first: a tree like the state.
        t0: Where it starts.
        t1: Where it ends; ahead of `t0` on the time axis, or behind it.

    Example:
        >>> import torch
        >>> from torchdyn_core import PID, solve
        >>> from torchdyn_core.testing import rotation
        >>> problem = rotation()
        >>> ts = torch.tensor([problem.t0, problem.t1], dtype=torch.float64)
        >>> ys = solve(problem.field, problem.y0, ts, controller=PID(rtol=1e-8, atol=1e-8)).ys
        >>> torch.allclose(ys, problem.exact(ts), atol=1e-6)
        True
    """

    field: VectorField
    exact: Callable[[Tensor], Tree]
    t0: float
    t1: float

    @property
    def y0(self) -> Tree:
        """The state at `t0`."""
        return self.at(self.t0)

    def at(self, t: float | Tensor) -> Tree:
        """The solution at one time."""
        return tree_map(lambda leaf: leaf[0], self.exact(torch.as_tensor(t, dtype=DTYPE).reshape(1)))


class Rotation(VectorField):
    r"""Points on circles, `dz/dt = i r (1/2 + |z|^2) (1 + cos(t) / 2) z`, with a learnable rate `r`, 1 at first.

    Nonlinear and time-dependent, and its solution's derivatives grow so evenly that orders can be read off early.

    Shapes:
        y: `(*batch, 2)`, real and imaginary part; or any shape, complex.

    Example:
        >>> import torch
        >>> from torchdyn_core.testing import Rotation
        >>> Rotation()(torch.tensor(0.0), torch.tensor([0.0, 1.0])).tolist()
        [-2.25, 0.0]
    """

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(1.0, dtype=DTYPE))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope."""
        pace = cast(self.rate, real_dtype(y)) * (1 + 0.5 * torch.cos(t))
        if y.is_complex():
            return 1j * pace * (0.5 + y.real.square() + y.imag.square()) * y
        speed = pace * (0.5 + y.square().sum(-1, keepdim=True))
        return speed * torch.stack((-y[..., 1], y[..., 0]), -1)


def _circles(t: Tensor, radii: Tensor) -> Tensor:
    """The solution for points that start on these radii, complex, time first."""
    t = t.reshape(-1, *(1,) * radii.dim())
    return radii * torch.exp(1j * (2 * radii + (0.5 + radii.square()) * (t + 0.5 * torch.sin(t))))


_FIVE = torch.linspace(0.3, 1.1, 5, dtype=DTYPE)
_TEN = torch.linspace(0.2, 1.0, 10, dtype=DTYPE).reshape(5, 2)


def rotation() -> Problem:
    """Five points on circles, `(5, 2)`: nonlinear and time-dependent."""
    return Problem(Rotation(), lambda t: torch.view_as_real(_circles(t, _FIVE)), 0.0, 2.0)


def complex_rotation() -> Problem:
    """Points on circles in a complex state, `(5, 2)`."""
    return Problem(Rotation(), lambda t: _circles(t, _TEN), 0.0, 2.0)


class _Branches(VectorField):
    """The same field on each leaf of a tree."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Rotation()

    def forward(self, t: Tensor, y: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.inner(per_row(t, leaf), leaf) for name, leaf in y.items()}


def tree_rotation() -> Problem:
    """Points on circles in a state of two leaves of different shapes, `(5, 2)` and `(5, 2, 2)`."""

    def exact(t: Tensor) -> dict[str, Tensor]:
        return {"few": torch.view_as_real(_circles(t, _FIVE)), "many": torch.view_as_real(_circles(t, _TEN))}

    return Problem(_Branches(), exact, 0.0, 2.0)


def reversed_in_time(problem: Problem) -> Problem:
    """The problem from its end to its start: the same field, integrated backwards."""
    return Problem(problem.field, problem.exact, problem.t1, problem.t0)
