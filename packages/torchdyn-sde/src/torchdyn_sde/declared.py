"""Whether a diffusion is what its kind of noise says: tried at one state, where a solve begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchdyn_core import IncompatibleError
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten

if TYPE_CHECKING:
    from torchdyn_sde.noise import Noise

__all__ = ["check_additive", "check_commutes", "check_rows"]

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
    # half of the entries are moved: of an elementwise function the others' values do not change
    if noise.name == "diagonal" and _reaches(diffusion, y, g, _entries(y)):
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


def check_rows(diffusion: Callable[[Tree], Tree], y: Tree, what: str) -> None:
    """Raise if a diffusion of a row depends on other rows, where rows are taken to be each for itself.

    Rows lie along all axes but the last: noises are independent along them.

    Arguments:
        diffusion: `g(y)`.
        y: The state.
        what: What rests on it.

    Raises:
        IncompatibleError: If it does.
    """
    if _reaches(diffusion, y, diffusion(y), _rows(y)):
        raise IncompatibleError(
            f"the diffusion of a row depends on other rows, and {what} takes rows to be each for itself; wanted a "
            "state whose last axis has all that the diffusion mixes, or a field written in the sense that is wanted"
        )


def _reaches(diffusion: Callable[[Tree], Tree], y: Tree, g: Tree, moved: list[Tensor]) -> bool:
    """Whether moving some entries of a state changes the diffusion of the others."""
    states, spec = flatten(y)
    there = [torch.where(m, leaf + 0.1 + 0.1 * leaf.abs(), leaf) for m, leaf in zip(moved, states, strict=True)]
    for before, after, m in zip(leaves(g), leaves(diffusion(unflatten(there, spec))), moved, strict=True):
        mask = m if before.dim() == m.dim() else m[..., None]
        if _apart(before, torch.where(mask, before, after), 1e-6):
            return True
    return False


def _half(count: int, device: torch.device, start: int = 0) -> Tensor:
    """Half of the numbers from a start on, those with an odd number of binary ones: regular patterns do not meet it."""
    numbers = torch.arange(start, start + count, device=device)
    for shift in (32, 16, 8, 4, 2, 1):
        numbers = numbers ^ (numbers >> shift)
    return numbers % 2 == 1


def _entries(y: Tree) -> list[Tensor]:
    """Half of the entries of a state, over all of its leaves."""
    found, start = [], 0
    for leaf in leaves(y):
        found.append(_half(leaf.numel(), leaf.device, start).reshape(leaf.shape))
        start += leaf.numel()
    return found


def _rows(y: Tree) -> list[Tensor]:
    """Half of the rows of a state."""
    found = []
    for leaf in leaves(y):
        rows = _half(leaf.shape[:-1].numel(), leaf.device).reshape(leaf.shape[:-1])
        found.append((rows[..., None] if leaf.dim() else rows).expand(leaf.shape))
    return found


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
