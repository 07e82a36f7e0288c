"""Pytrees of tensors: the state of a solve may be a tensor, or tuples, lists and dicts of tensors.

A lone tensor takes a short path in every function: most solves have one, and Python is what small solves cost.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

Tree = Any
"""A tensor, or tuples, lists and dicts of trees."""

Spec = Any

__all__ = [
    "Spec",
    "Tree",
    "add_scaled",
    "align",
    "all_finite",
    "flatten",
    "leaves",
    "tree_map",
    "unflatten",
    "weighted_sum",
]


def flatten(tree: Tree) -> tuple[list[Any], Spec]:
    """Leaves in a fixed order, and what puts them together again."""
    if isinstance(tree, Tensor):
        return [tree], None
    return _pytree.tree_flatten(tree)


def unflatten(parts: Sequence[Any], spec: Spec) -> Tree:
    """Inverse of `flatten`."""
    return parts[0] if spec is None else _pytree.tree_unflatten(list(parts), spec)


def leaves(tree: Tree) -> list[Tensor]:
    """The tensors of a tree; `None` and numbers are left out."""
    if isinstance(tree, Tensor):
        return [tree]
    if tree is None:
        return []
    return [leaf for leaf in _pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def tree_map(function: Callable[..., Any], tree: Tree, *rest: Tree) -> Tree:
    """Apply a function to the tensors at each place of trees of one structure; what is no tensor stays."""
    if isinstance(tree, Tensor):
        return function(tree, *rest)
    if tree is None:
        return None
    parts, spec = _pytree.tree_flatten(tree)
    others = [_pytree.tree_leaves(r) for r in rest]
    return _pytree.tree_unflatten(
        [function(p, *o) if isinstance(p, Tensor) else p for p, *o in zip(parts, *others, strict=True)], spec
    )


def all_finite(leaf: Tensor) -> bool:
    """Whether no entry is NaN or inf."""
    leaf = leaf.detach()
    # a sum is finite only if its terms are, and one kernel finds it; entries so large that it overflows are looked at
    return cmath.isfinite(leaf.sum().item()) or bool(torch.isfinite(leaf).all())


def align(value: Tensor, leaf: Tensor) -> Tensor:
    """Give `value` trailing axes of size one, so that its axes are the leading axes of `leaf`."""
    missing = leaf.dim() - value.dim()
    return value.reshape(value.shape + (1,) * missing) if missing > 0 and value.dim() else value


def add_scaled(y: Tree, terms: Sequence[Tree], weights: Sequence[float]) -> Tree:
    """`y + sum(weight * term)`, one fused multiply-add a term; zero weights cost nothing."""
    if isinstance(y, Tensor):
        for term, weight in zip(terms, weights, strict=False):
            if weight:
                y = torch.add(y, term, alpha=weight)
        return y
    parts, spec = flatten(y)
    columns = [flatten(term)[0] for term in terms]
    return unflatten([add_scaled(p, [c[i] for c in columns], weights) for i, p in enumerate(parts)], spec)


def weighted_sum(terms: Sequence[Tree], weights: Sequence[float]) -> Tree:
    """`sum(weight * term)` of at least one term with a weight that is not zero."""
    pairs = [(term, weight) for term, weight in zip(terms, weights, strict=False) if weight]
    (first, weight), others = pairs[0], pairs[1:]
    start = tree_map(lambda leaf: leaf * weight, first)
    return add_scaled(start, [term for term, _ in others], [w for _, w in others])
