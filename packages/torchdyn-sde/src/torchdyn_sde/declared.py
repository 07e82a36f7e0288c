"""Whether a diffusion is what its kind of noise says: tried at one state, where a solve begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchdyn_core import IncompatibleError
from torchdyn_core.tree import Tree, leaves, tree_map

if TYPE_CHECKING:
    from torchdyn_sde.noise import Noise

__all__ = ["check_additive", "check_commutes"]

_COLUMNS = 4
_ASYMMETRY = 0.02
"""Differences of derivatives that are taken by differences of values, relative to the largest, may be this large."""


def check_additive(diffusion: Callable[[Tree], Tree], y: Tree) -> None:
    """Raise if a diffusion that is declared to be the same in all states is another one elsewhere.

    Raises:
        IncompatibleError: If it is.
    """
    moved = tree_map(lambda leaf: leaf + 0.5 + 0.1 * leaf.abs(), y)
    if _apart(diffusion(y), diffusion(moved), 1e-6):
        raise IncompatibleError(
            "noise='additive', and the diffusion depends on the state; wanted noise='diagonal', 'scalar' or 'general'"
        )


def check_commutes(noise: Noise, diffusion: Callable[[Tree], Tree], y: Tree, method: str) -> None:
    """Raise if noises do not commute that are declared to, for a method that would lose its order by it.

    Raises:
        IncompatibleError: If they do not.
    """
    g = diffusion(y)
    if noise.name == "diagonal":
        # every second component is moved: of an elementwise function the others' values do not change
        moved = tree_map(lambda leaf: torch.where(_odd(leaf), leaf + 0.1 + 0.1 * leaf.abs(), leaf), y)
        still = tree_map(lambda a, b, leaf: torch.where(_odd(leaf), a, b), g, diffusion(moved), y)
        if _apart(g, still, 1e-6):
            raise IncompatibleError(
                f"noise='diagonal', and an entry of the diffusion depends on other entries of the state than its own, "
                f"on which the order of {method} rests; wanted an elementwise diffusion, or EulerMaruyama, Heun"
            )
    if noise.name == "commutative":
        first = leaves(g)[0]
        count = min(first.shape[-1], _COLUMNS)
        step = torch.finfo(first.dtype).eps ** (1.0 / 3.0)
        along = [_along(diffusion, y, tree_map(lambda leaf, i=i: leaf[..., i], g), step) for i in range(count)]
        for i in range(count):
            for j in range(i):
                one, other = (tree_map(lambda leaf, k=k: leaf[..., k], along[m]) for m, k in ((i, j), (j, i)))
                if _apart(one, other, _ASYMMETRY):
                    raise IncompatibleError(
                        f"noise='commutative', and the diffusion's columns {j} and {i} do not commute, on which the "
                        f"order of {method} rests; wanted noise='general', and EulerMaruyama, Heun"
                    )


def _odd(leaf: Tensor) -> Tensor:
    """Every second component."""
    if not leaf.dim():
        return torch.ones_like(leaf, dtype=torch.bool)
    return (torch.arange(leaf.shape[-1], device=leaf.device) % 2 == 1).expand(leaf.shape)


def _along(diffusion: Callable[[Tree], Tree], y: Tree, direction: Tree, step: float) -> Tree:
    """The derivative of the diffusion along a direction, by a central difference."""
    there, back = (diffusion(tree_map(lambda a, b, s=s: a + s * b, y, direction)) for s in (step, -step))
    return tree_map(lambda a, b: (a - b) / (2.0 * step), there, back)


def _apart(a: Tree, b: Tree, tolerance: float) -> bool:
    """Whether two trees differ by more than a tolerance, relative to the largest entry."""
    for one, other in zip(leaves(a), leaves(b), strict=True):
        if one.numel():
            largest = torch.maximum(one.abs().max(), other.abs().max())
            if bool((one - other).abs().max() > tolerance * largest):
                return True
    return False
