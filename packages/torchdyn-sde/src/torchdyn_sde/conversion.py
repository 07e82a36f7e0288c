"""Ito's and Stratonovich's sense: what a drift has to be in the one, to have the solutions of the other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchdyn_core.field import cast, real_dtype
from torchdyn_core.tree import Tree, align, flatten, leaves, tree_map, unflatten
from torchdyn_sde.noise import Noise

__all__ = ["CorrectedDrift"]


class CorrectedDrift(nn.Module):
    """A drift and a multiple of what noise and diffusion add on average: `f + c sum_j (dg_j/dy) g_j`.

    Arguments:
        drift: `f(t, y)`.
        diffusion: `g(t, y)`.
        noise: Its kind.
        factor: `c`: 1/2 makes a drift in Stratonovich's sense one in Ito's, -1/2 the other way round.
        direction: 1, or -1 where times decrease: Ito's sense is that of the direction in which a solve goes. `()`, or
            `(R,)`, one for each row; None before a solve begins: forwards.

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

    def __init__(
        self,
        drift: Callable[..., Tree],
        diffusion: Callable[..., Tree],
        noise: Noise,
        factor: float,
        direction: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.drift, self.diffusion = drift, diffusion
        self.noise, self.factor, self.direction = noise, factor, direction

    def directed(self, direction: Tensor) -> CorrectedDrift:
        """The same drift in a solve of that direction."""
        drift = self.drift.directed(direction) if isinstance(self.drift, CorrectedDrift) else self.drift
        return CorrectedDrift(drift, self.diffusion, self.noise, self.factor, direction)

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The drift."""
        drift = self.drift(t, y, *args)

        def diffusion(z: Tree) -> Tree:
            return self.diffusion(t, z, *args)

        along = self._along(diffusion, y, diffusion(y))
        if self.direction is not None:
            signs = self.direction
            along = tree_map(lambda a: cast(align(signs, a), real_dtype(a)) * a, along)
        return tree_map(lambda f, a: f + self.factor * a, drift, along)

    def _along(self, diffusion: Callable[[Tree], Tree], y: Tree, g: Tree) -> Tree:
        """The sum over noises of how each changes what it does itself."""
        if self.noise.name == "scalar":
            made: Tree = torch.func.jvp(diffusion, (y,), (g,))[1]
            return made
        if self.noise.elementwise:
            return self._entries(diffusion, y, g)
        total: Tree = None
        for number in range(leaves(g)[0].shape[-1]):
            moved = torch.func.jvp(diffusion, (y,), (_column(g, number),))[1]
            own = _column(moved, number)
            total = own if total is None else tree_map(torch.add, total, own)
        return total

    def _entries(self, diffusion: Callable[[Tree], Tree], y: Tree, g: Tree) -> Tree:
        """Of noise that each entry has for itself: how each entry's own diffusion changes along it."""
        parts, spec = flatten(g)
        zeros = [torch.zeros_like(part) for part in parts]
        totals = list(zeros)
        for place, part in enumerate(parts):
            for component in range(_width(part)):
                direction = [_only(part, component) if i == place else zero for i, zero in enumerate(zeros)]
                moved = torch.func.jvp(diffusion, (y,), (unflatten(direction, spec),))[1]
                totals[place] = totals[place] + _only(leaves(moved)[place], component)
        return unflatten(totals, spec)


def _width(leaf: Tensor) -> int:
    return leaf.shape[-1] if leaf.dim() else 1


def _only(leaf: Tensor, component: int) -> Tensor:
    """One component, the others 0."""
    if not leaf.dim():
        return leaf
    return torch.where(torch.arange(leaf.shape[-1], device=leaf.device) == component, leaf, torch.zeros_like(leaf))


def _column(g: Tree, j: int) -> Tree:
    return tree_map(lambda leaf: leaf[..., j], g)
