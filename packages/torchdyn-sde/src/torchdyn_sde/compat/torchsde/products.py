"""Diffusions that are known by their products with noises, for methods that ask for nothing else."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdyn_core.tree import Tree
from torchdyn_sde.compat.torchsde.sde import Coefficients, Equation
from torchdyn_sde.compat.torchsde.settings import NOISE_TYPES
from torchdyn_sde.methods.euler_maruyama import EulerMaruyama
from torchdyn_sde.noise import General
from torchdyn_sde.noise_shape import NoiseShape
from torchdyn_sde.solver import SDESolver

__all__ = ["ByProducts", "with_products"]


class Place(NamedTuple):
    """A diffusion, by where it is taken."""

    t: Tensor
    y: Tensor


class ByProducts(General):
    """General noise whose diffusion is never put together: it is kept as the place where it is taken.

    Arguments:
        parts: The equation's functions.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde.products import ByProducts, Place
        >>> from torchdyn_sde.compat.torchsde.sde import BaseSDE, Coefficients
        >>> class Written(BaseSDE):
        ...     def g_prod(self, t, y, v):
        ...         return y * v.sum(1, keepdim=True)
        >>> noise = ByProducts(Coefficients(Written("general", "ito")))
        >>> noise.act(Place(torch.tensor(0.0), torch.ones(1, 2)), torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[6., 6.]])
    """

    def __init__(self, parts: Coefficients) -> None:
        self.parts = parts

    def checked(self, g: Tree, y: Tree) -> Tree:
        return g

    def _shape(self, y: list[Tensor], g: list[Tensor], spec: object) -> NoiseShape:
        return NoiseShape((torch.Size((y[0].shape[0], self.parts.columns)),), None)

    def act(self, g: Tree, dw: Tree) -> Tree:
        return self.parts.product(g.t, g.y, dw)


class _Placed(torch.nn.Module):
    def forward(self, t: Tensor, y: Tensor) -> Any:
        return Place(t, y)


def with_products(field: Equation, parts: Coefficients, solver: SDESolver) -> Equation:
    """The equation, with its products alone where there are no entries of its diffusion and the method asks for none.

    Example:
        >>> import torch
        >>> from torchdyn_sde import Heun, LogODE
        >>> from torchdyn_sde.compat.torchsde.products import with_products
        >>> from torchdyn_sde.compat.torchsde.sde import Coefficients, Equation, SDEStratonovich
        >>> class Written(SDEStratonovich):
        ...     def g_prod(self, t, y, v):
        ...         return y * v.sum(1, keepdim=True)
        >>> parts = Coefficients(Written("general"))
        >>> field = Equation(parts, "stratonovich")
        >>> [type(with_products(field, parts, solver).noise).__name__ for solver in (Heun(), LogODE())]
        ['ByProducts', 'General']
    """
    known = parts.has("diffusion") or parts.has("drift_and_diffusion")
    multiplies = solver.serves_adjoint or isinstance(solver, EulerMaruyama)  # and does nothing else with a diffusion
    if known or field.noise.name != NOISE_TYPES.general or not multiplies:
        return field
    return field.replace(diffusion=_Placed(), noise=ByProducts(parts))
