"""Blocks: noise of many cells, drawn at once, for solves whose steps are made one by one."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_sde.node_noise import NodeNoise

__all__ = ["Blocks"]

_NUMBERS = 2**16
_KEPT = 2


class Blocks:
    """Noise of runs of cells. A cache of a pure function: what it gives is what would be drawn, bit for bit.

    To draw a number takes some two hundred operations on tensors, which cost the same for one cell and for many.

    Example:
        >>> import torch
        >>> from torchdyn_sde.blocks import Blocks
        >>> from torchdyn_sde.node_noise import NodeNoise
        >>> noise = NodeNoise(torch.tensor(0), 1, torch.float32, False)
        >>> Blocks().row(3, (torch.Size((2,)),), noise, 10)[0][0].shape
        torch.Size([2])
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[int, torch.Size, int], list[Tensor]] = {}

    def row(self, cell: int, sizes: tuple[torch.Size, ...], noise: NodeNoise, cells: int) -> list[list[Tensor]]:
        """What a cell has, leaf by leaf.

        Arguments:
            cell: Which.
            sizes: Of the leaves.
            noise: What is drawn.
            cells: How many a solve will ask about: as many as that are drawn at once, at most.
        """
        return [self._leaf(place, size, cell, noise, cells) for place, size in enumerate(sizes)]

    def _leaf(self, place: int, size: torch.Size, cell: int, noise: NodeNoise, cells: int) -> list[Tensor]:
        many = max(1, min(_NUMBERS // max(1, size.numel()), cells))
        key = place, size, cell // many
        found = self._kept.get(key)
        if found is None:
            mine = [other for other in self._kept if other[0] == place]
            for other in mine[: max(0, len(mine) - _KEPT + 1)]:
                del self._kept[other]
            run = torch.arange(key[2] * many, (key[2] + 1) * many, device=noise.seed.device)
            found = noise.drawn(place, size, run, torch.zeros_like(run))
            self._kept[key] = found
        return [numbers[cell % many] for numbers in found]
