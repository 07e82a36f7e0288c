"""Milstein's method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from torchdyn_core import State, Step
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, tree_map
from torchdyn_sde.solver import SDESolver, StrongOrder, source_of

__all__ = ["Milstein", "MilsteinStratonovich"]


class _Milstein(SDESolver):
    strong_order = StrongOrder(diagonal=1.0, scalar=1.0, additive=1.0, commutative=1.0)
    weak_order = 1.0
    commuting = True
    derivative: bool

    def step(self, field: BoundField, t0: Tensor, t1: Tensor, y: Tree, state: State) -> Step:
        f, g = self.drift(field, t0, y), self.diffusion(field, t0, y)
        dt, dw = t1 - t0, self.increment(field, t0, t1, y, g).w
        terms = [y, self.scaled(dt, f), self.acted(field, g, dw)]
        columns = self._columns(field, g, dw)
        for number, (column, own) in enumerate(columns):
            slope = self._along(field, t0, dt, y, g, column)
            terms.append(self.acted(field, slope, self._second(dt, dw, own, number)))
        each = 2 if self.interpretation == "stratonovich" and not self.derivative else 1
        return self.stepped(self.add(*terms), cost=2 + each * len(columns))

    def _columns(self, field: BoundField, g: Tree, dw: Tree) -> list[tuple[Tree, Tree]]:
        """Directions in which the diffusion changes the state, each with its noise."""
        source = source_of(field)
        if source.noise.constant:
            return []
        if source.noise.name in ("diagonal", "scalar"):
            return [(g, dw)]
        return [(tree_map(lambda leaf, i=i: leaf[..., i], g), dw[..., i : i + 1]) for i in range(dw.shape[-1])]

    def _second(self, dt: Tensor, dw: Tree, own: Tree, number: int) -> Tree:
        """Half the product of all noises and one of them, in Ito's sense less what its mean is."""
        products = tree_map(lambda a, b: 0.5 * a * b, dw, own)
        if self.interpretation == "stratonovich":
            return products
        time = self.scaled(-0.5 * dt.abs(), tree_map(torch.ones_like, own))
        if own is dw:
            return self.add(products, time)
        unit = torch.nn.functional.one_hot(torch.tensor(number, device=dt.device), dw.shape[-1])
        return products + time * unit.to(dw.dtype)

    def _along(self, field: BoundField, t: Tensor, dt: Tensor, y: Tree, g: Tree, column: Tree) -> Tree:
        """How the diffusion changes along a direction."""
        if self.derivative:
            source = source_of(field)

            def slope(time: Tensor, z: Tree, *args: Tree) -> Tree:
                made: Tree = torch.func.jvp(lambda x: source.diffusion(time, x, *args), (z,), (column,))[1]
                return made

            return field.evaluate(slope, t, y, source.noise.checked)
        # rows that stand still have no root to divide by, and no noise either
        root = torch.where(dt == 0, 1.0, dt.abs().sqrt())
        there = self.diffusion(field, t, self.add(y, self.scaled(root, column)))
        if self.interpretation == "ito":  # where the error of a difference has a factor of mean 0
            return self.scaled(1.0 / root, tree_map(torch.sub, there, g))
        behind = self.diffusion(field, t, self.add(y, self.scaled(-root, column)))
        return self.scaled(0.5 / root, tree_map(torch.sub, there, behind))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(derivative={self.derivative})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.derivative == other.derivative

    def __hash__(self) -> int:
        return hash((type(self), self.derivative))


@dataclass(frozen=True, eq=False, repr=False)
class Milstein(_Milstein):
    """Milstein's method: Euler and Maruyama's, and what the noise does to the diffusion within a step.

    Arguments:
        derivative: Whether the diffusion is differentiated; else a difference over the root of the step size stands for
            its derivative.

    References:
        | Milstein (1975), Approximate integration of stochastic differential equations. doi:10.1137/1119062
        | Kloeden, Platen (1992), Numerical Solution of Stochastic Differential Equations, 10.3 and 11.1.

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import Milstein, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y)
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=Milstein(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    derivative: bool = True
    interpretation = "ito"


@dataclass(frozen=True, eq=False, repr=False)
class MilsteinStratonovich(_Milstein):
    """Milstein's method for equations in Stratonovich's sense.

    Arguments:
        derivative: Whether the diffusion is differentiated; else a central difference over the root of the step size
            stands for its derivative, an evaluation the more for each noise.

    References:
        Kloeden, Platen (1992), Numerical Solution of Stochastic Differential Equations, 10.3 and 11.1.

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_sde import MilsteinStratonovich, SDEField
        >>> field = SDEField(lambda t, y: -y, lambda t, y: 0.1 * y, interpretation="stratonovich")
        >>> solve(field, torch.ones(3), [0.0, 1.0], solver=MilsteinStratonovich(), controller=Fixed(steps=10)).ys.shape
        torch.Size([2, 3])
    """

    derivative: bool = True
    interpretation = "stratonovich"
