"""Flat lists of tensors: how trees lie in them, and how they are cut. Kernels take and give nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from torchdyn_core.tree import Tree, flatten, tree_map, unflatten

__all__ = ["Splitter", "leaf_of", "pick", "pick_indices", "places", "put"]


class Splitter:
    """Cuts a flat list of tensors into runs of known lengths."""

    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths

    def __call__(self, tensors: Sequence[Any]) -> list[Sequence[Any]]:
        parts, start = [], 0
        for length in self._lengths:
            parts.append(tensors[start : start + length])
            start += length
        return parts


def places(tree: Tree) -> Tree:
    """A tree with numbers, from 0, in place of its tensors."""
    count = itertools.count()
    return tree_map(lambda _: next(count), tree)


def put(leaves: Sequence[Tensor], place: Tree) -> Tree:
    """A tree with tensors in place of the numbers that stand for them."""
    if place is None or isinstance(place, int):  # most trees are a lone tensor, and Python is what small solves cost
        return None if place is None else leaves[place]
    parts, spec = flatten(place)
    return unflatten([leaves[part] if isinstance(part, int) else part for part in parts], spec)


def pick_indices(part: Any) -> list[int]:
    """The places of a part of a cursor, in order."""
    if part is None or isinstance(part, int):
        return [] if part is None else [part]
    if isinstance(part, tuple) and all(i is None or isinstance(i, int) for i in part):
        return [i for i in part if i is not None]
    return [i for i in flatten(part)[0] if i is not None]


def pick(cursor: Sequence[Tensor], part: Any) -> list[Tensor]:
    """The leaves of a cursor that stand at the places of a part."""
    return [cursor[index] for index in pick_indices(part)]


def leaf_of(tensor: Tensor) -> Tensor:
    """A leaf of a graph of its own."""
    tensor = tensor.detach()
    return tensor.requires_grad_() if tensor.is_floating_point() or tensor.is_complex() else tensor
