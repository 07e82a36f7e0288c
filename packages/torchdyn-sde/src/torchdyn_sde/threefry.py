"""Threefry: random bits that are a pure function of a key and a counter."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["signed", "threefry"]

_ROTATIONS = (13, 15, 26, 6, 17, 29, 16, 24)
_PARITY = 0x1BD11BDA


def threefry(key: tuple[Any, Any], counter: tuple[Any, Any]) -> tuple[Any, Any]:
    """Two words of 32 random bits for two words of key and two of counter: Threefry-2x32 with 20 rounds.

    Words are int32, whose additions wrap around. There is nothing but additions, shifts and bitwise operations, so that
    every device gives the same bits, and compilers make vector code of it. They may be tensors or a compiler's numbers.

    Arguments:
        key: Words that tell streams apart.
        counter: Words that tell numbers of a stream apart.

    Shapes:
        key, counter, output: int32, any that broadcast.

    References:
        Salmon, Moraes, Dror, Shaw (2011), Parallel random numbers: as easy as 1, 2, 3. doi:10.1145/2063384.2063405

    Example:
        >>> import torch
        >>> zero = torch.zeros((), dtype=torch.int32)
        >>> [hex(int(word) & 0xFFFFFFFF) for word in threefry((zero, zero), (zero, zero))]
        ['0x6b200159', '0x99ba4efe']
    """
    keys = (*key, key[0] ^ key[1] ^ _PARITY)
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for block in range(5):
        for place in range(4):
            x = x + y
            y = _rotated(y, _ROTATIONS[4 * (block % 2) + place]) ^ x
        x = x + keys[(block + 1) % 3]
        y = y + keys[(block + 2) % 3] + (block + 1)
    return x, y


def _rotated(word: Any, by: int) -> Any:
    low = (1 << by) - 1
    return (word << by) | ((word >> (32 - by)) & low)


def signed(value: Tensor) -> Tensor:
    """The lowest 32 bits of whole numbers, as int32."""
    return (((value & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000).to(torch.int32)
