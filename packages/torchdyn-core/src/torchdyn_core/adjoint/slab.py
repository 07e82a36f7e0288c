"""Slabs: kept states packed side by side, so that keeping them does not riddle the heap with holes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Slabs"]

_SLAB = 32 * 2**20 + 4096  # bytes; above the largest block that glibc ever takes from its heap
_SMALL = 64 * 2**10  # bytes; below this a copy costs more than the hole it avoids
_ALIGN = 64  # bytes; what torch aligns tensors to


class Slabs:
    """Copies tensors of middling size on the CPU into blocks that the system maps by themselves.

    Kept where they were made, states would lie between the temporaries of their steps. Those are freed one by one, and
    glibc cannot use a lone hole of just a tensor's size for the next one, which it wants aligned: such holes add
    a third to a half to the memory of a long solve. Of a slab only the pages written so far are resident, so that the
    last one costs what it holds. Small tensors are kept as they are, and so are large ones, which are mapped by
    themselves anyway, and those on other devices, whose allocators have no such trouble.

    Example:
        >>> import torch
        >>> slabs = Slabs()
        >>> state = torch.rand(200, 300)
        >>> kept = slabs.keep(state)
        >>> torch.equal(kept, state), kept.data_ptr() == state.data_ptr()
        (True, False)
    """

    def __init__(self) -> None:
        self._slab: Tensor | None = None
        self._used = 0

    def keep(self, leaf: Tensor) -> Tensor:
        """The tensor itself or a copy with equal strides, whichever is better kept."""
        if not _worth_packing(leaf):
            return leaf
        if self._slab is None or self._used + leaf.nbytes > _SLAB:
            self._slab, self._used = torch.empty(_SLAB, dtype=torch.uint8), 0
        place = self._slab[self._used : self._used + leaf.nbytes].view(leaf.dtype)
        self._used += -(-leaf.nbytes // _ALIGN) * _ALIGN
        kept = place.as_strided(leaf.shape, leaf.stride(), place.storage_offset())
        return kept.copy_(leaf)


def _worth_packing(leaf: Tensor) -> bool:
    if type(leaf) is not Tensor or leaf.device.type != "cpu" or not _SMALL <= leaf.nbytes < _SLAB:
        return False
    return torch.empty_like(leaf, device="meta").stride() == leaf.stride()  # dense in memory, in whatever order
