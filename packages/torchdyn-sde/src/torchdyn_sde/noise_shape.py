"""Shapes of noise: of a tensor, or of a tree of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils import _pytree

from torchdyn_core import ShapeError

__all__ = ["NoiseShape", "Shapes"]

Shapes = Any
"""Sizes, or a tuple, list or dict of such."""


class NoiseShape(NamedTuple):
    """Sizes of the leaves of a tree, and what puts leaves together.

    Arguments:
        sizes: Of each leaf.
        spec: Of the tree; None for a lone tensor.
    """

    sizes: tuple[torch.Size, ...]
    spec: Any

    @staticmethod
    def of(shapes: Shapes) -> NoiseShape:
        """Read what a user wrote.

        Raises:
            ShapeError: If there is something else than whole numbers of at least 0 in it.
        """
        if _is_size(shapes):
            return NoiseShape((torch.Size(shapes),), None)
        parts, spec = _pytree.tree_flatten(shapes, is_leaf=_is_size)
        if not parts or not all(_is_size(part) for part in parts):
            raise ShapeError(f"shape={shapes!r}; wanted sizes, or a tuple, list or dict of them")
        return NoiseShape(tuple(torch.Size(part) for part in parts), spec)

    @property
    def rows(self) -> int | None:
        """Rows of the leading axis, where all leaves have one and the same number."""
        found = {size[0] if len(size) else None for size in self.sizes}
        return found.pop() if len(found) == 1 else None

    def tree(self, parts: Sequence[Any]) -> Any:
        """Leaves as a tree."""
        return parts[0] if self.spec is None else _pytree.tree_unflatten(list(parts), self.spec)


def _is_size(shapes: Any) -> bool:
    if not isinstance(shapes, (tuple, list)):
        return False
    return all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shapes)
