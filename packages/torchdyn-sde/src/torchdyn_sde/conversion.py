"""Ito's and Stratonovich's sense: what a drift has to be in the one, to have the solutions of the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchdyn_core.tree import Tree, leaves, tree_map
from torchdyn_sde.noise import Noise

__all__ = ["CorrectedDrift"]


class CorrectedDrift(nn.Module):
    """A drift and a multiple of what noise and diffusion add on average: `f + c sum_j (dg_j/dy) g_j`.

    Arguments:
        drift: `f(t, y)`.
        diffusion: `g(t, y)`.
        noise: Its kind.
        factor: `c`: 1/2 makes a drift in Stratonovich's sense one in Ito's, -1/2 the other way round.

    References:
        Kloeden, Platen (1992), Numerical Solution of Stochastic Differential Equations, 4.9.

    Example:
        >>> import torch
        >>> from torchdyn_sde.conversion import CorrectedDrift
        >>> from torchdyn_sde.noise import noise_named
        >>> drift = CorrectedDrift(lambda t, y: 0.0 * y, lambda t, y: y, noise_named("diagonal"), 0.5)
        >>> drift(torch.tensor(0.0), torch.tensor([2.0]))
        tensor([1.])
    """

    def __init__(self, drift: Callable[..., Tree], diffusion: Callable[..., Tree], noise: Noise, factor: float) -> None:
        super().__init__()
        self.drift, self.diffusion = drift, diffusion
        self.noise, self.factor = noise, factor

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The drift."""
        drift = self.drift(t, y, *args)

        def diffusion(z: Tree) -> Tree:
            return self.diffusion(t, z, *args)

        along = self._along(diffusion, y, diffusion(y))
        return tree_map(lambda f, a: f + self.factor * a, drift, along)

    def _along(self, diffusion: Callable[[Tree], Tree], y: Tree, g: Tree) -> Tree:
        """The sum over noises of how each changes what it does itself."""
        if self.noise.name == "scalar":
            made: Tree = torch.func.jvp(diffusion, (y,), (g,))[1]
            return made
        total: Tree = None
        for number in range(max(_width(leaf) for leaf in leaves(g))):
            diagonal = self.noise.name == "diagonal"
            direction = tree_map(lambda leaf, i=number: _only(leaf, i), g) if diagonal else _column(g, number)
            moved = torch.func.jvp(diffusion, (y,), (direction,))[1]
            own = tree_map(lambda leaf, i=number: _only(leaf, i), moved) if diagonal else _column(moved, number)
            total = own if total is None else tree_map(torch.add, total, own)
        return total


def _width(leaf: Tensor) -> int:
    return leaf.shape[-1] if leaf.dim() else 1


def _only(leaf: Tensor, component: int) -> Tensor:
    """One component, the others 0."""
    if not leaf.dim():
        return leaf
    return torch.where(torch.arange(leaf.shape[-1], device=leaf.device) == component, leaf, torch.zeros_like(leaf))


def _column(g: Tree, j: int) -> Tree:
    return tree_map(lambda leaf: leaf[..., j], g)
