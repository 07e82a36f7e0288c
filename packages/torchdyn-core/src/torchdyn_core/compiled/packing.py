"""Numbers that enter a loop together: every tensor that enters costs a handle or two in every iteration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Packing", "in_rows"]


def in_rows(tensor: Tensor) -> Tensor:
    """A tensor as a loop's steps leave it: row after row, with the strides that say so.

    Along an axis of one entry any stride is contiguous to torch, and what a loop carries has to keep its strides.

    Example:
        >>> import torch
        >>> torch.ones(6, 1).T.contiguous().stride(), in_rows(torch.ones(6, 1).T).stride()
        ((1, 1), (6, 1))
    """
    size, strides = 1, []
    for extent in reversed(tensor.shape):
        strides.append(size)
        size *= max(extent, 1)
    right = tensor.stride() == tuple(reversed(strides))
    return tensor if right else tensor.clone(memory_format=torch.contiguous_format)


class Packing:
    """Numbers of one dtype as one tensor, flags among whole numbers; what has axes stays by itself.

    Arguments:
        tensors: Shadows of what is packed.
        apart: Positions of those that are never packed.

    Example:
        >>> import torch
        >>> packing = Packing([torch.tensor(1), torch.ones(2), torch.tensor(3)])
        >>> [part.tolist() for part in packing.pack([torch.tensor(4), torch.ones(2), torch.tensor(5)])]
        [[4, 5], [1.0, 1.0]]
        >>> [part.tolist() for part in packing.unpack([torch.tensor([6, 7]), torch.ones(2)])]
        [6, [1.0, 1.0], 7]
    """

    def __init__(self, tensors: Sequence[Tensor], apart: Sequence[int] = ()) -> None:
        alike: dict[torch.dtype, list[int]] = {}
        for index, tensor in enumerate(tensors):
            if not tensor.dim() and index not in apart:
                alike.setdefault(torch.int64 if tensor.dtype == torch.bool else tensor.dtype, []).append(index)
        self._groups = [group for group in alike.values() if len(group) > 1]
        self._flags = {index for index, tensor in enumerate(tensors) if tensor.dtype == torch.bool}
        together = {index for group in self._groups for index in group}
        self._alone = [index for index in range(len(tensors)) if index not in together]

    def __len__(self) -> int:
        return len(self._groups) + len(self._alone)

    def place(self, index: int) -> int:
        """Where a tensor that is not packed comes to stand."""
        return len(self._groups) + self._alone.index(index)

    def pack(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Fewer tensors."""
        groups = [
            torch.stack([tensors[i].to(torch.int64) if i in self._flags else tensors[i] for i in group])
            for group in self._groups
        ]
        return [*groups, *(tensors[index] for index in self._alone)]

    def unpack(self, packed: Sequence[Tensor]) -> list[Tensor]:
        """Inverse of `pack`."""
        found = dict(zip(self._alone, packed[len(self._groups) :], strict=True))
        for group, tensor in zip(self._groups, packed, strict=False):
            for index, number in zip(group, tensor.unbind(0), strict=True):
                found[index] = number != 0 if index in self._flags else number
        return [found[index] for index in range(len(found))]
