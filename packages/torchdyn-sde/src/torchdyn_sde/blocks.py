"""Blocks: noise of many cells, drawn at once, for solves whose steps are made one by one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Blocks"]

_NUMBERS = 2**16
_KEPT = 2

Draw = Callable[[int, torch.Size, Tensor], list[Tensor]]
"""Takes the place of a leaf, its size, and cells; returns what each of them has."""


class Blocks:
    """Noise of runs of cells. A cache of a pure function: what it gives is what would be drawn, bit for bit.

    To draw a number takes some two hundred operations on tensors, which cost the same for one cell and for many.

    Arguments:
        device: Where it lies.

    Example:
        >>> import torch
        >>> from torchdyn_sde.blocks import Blocks
        >>> squares = lambda place, size, cells: [(cells * cells).double()]
        >>> Blocks().row(3, [torch.Size(())], squares, 10)
        [[tensor(9., dtype=torch.float64)]]
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device
        self._kept: dict[tuple[int, torch.Size, int], list[Tensor]] = {}

    def row(self, cell: int, sizes: tuple[torch.Size, ...], draw: Draw, cells: int) -> list[list[Tensor]]:
        """What a cell has, leaf by leaf.

        Arguments:
            cell: Which.
            sizes: Of the leaves.
            draw: What draws.
            cells: How many a solve will ask about: as many as that are drawn at once, at most.
        """
        return [self._leaf(place, size, cell, draw, cells) for place, size in enumerate(sizes)]

    def _leaf(self, place: int, size: torch.Size, cell: int, draw: Draw, cells: int) -> list[Tensor]:
        many = max(1, min(_NUMBERS // max(1, size.numel()), cells))
        key = place, size, cell // many
        found = self._kept.get(key)
        if found is None:
            mine = [other for other in self._kept if other[0] == place]
            for other in mine[: max(0, len(mine) - _KEPT + 1)]:
                del self._kept[other]
            found = draw(place, size, torch.arange(key[2] * many, (key[2] + 1) * many, device=self.device))
            self._kept[key] = found
        return [numbers[cell % many] for numbers in found]
