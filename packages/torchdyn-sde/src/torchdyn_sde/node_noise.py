"""Normal numbers of the nodes of trees, and weighted sums of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchdyn_core.tracing import tracing
from torchdyn_core.tree import align
from torchdyn_sde.elementwise import Elementwise
from torchdyn_sde.normal import normals
from torchdyn_sde.threefry import signed, threefry

__all__ = ["NodeNoise", "Nodes"]

_KEY = Elementwise("key", lambda m, a, b, c, d: threefry((a, b), (c, d)), 4, [torch.int32, torch.int32])
_GOLDEN = 0x9E3779B9
_CHUNK = 2**18
"""Numbers that are drawn at once where nothing fuses what is done to them."""


class Nodes(NamedTuple):
    """Nodes, and how much each of their functions counts in each of the quantities asked about.

    Arguments:
        cell: In whose tree, `(N, *)`.
        node: Which, from 0 to `2^30`, `(N, *)`.
        weight: `(N, J, J, *)`.
    """

    cell: Tensor
    node: Tensor
    weight: Tensor


class NodeNoise(NamedTuple):
    """A normal number for each function of each node, each row and column of a noise, from a key and a counter.

    Arguments:
        seed: `()`, or one for each row, `(R,)`.
        functions: Of a node: how many.
        dtype: float32 or float64.
        antithetic: Whether the second half of the rows has the first one's numbers with the other sign.

    Example:
        >>> import torch
        >>> from torchdyn_sde.node_noise import NodeNoise
        >>> noise = NodeNoise(torch.tensor(0), 1, torch.float32, False)
        >>> [number.shape for number in noise.drawn(0, torch.Size((2, 3)), torch.tensor([0, 1]), torch.tensor([0, 0]))]
        [torch.Size([2, 2, 3])]
    """

    seed: Tensor
    functions: int
    dtype: torch.dtype
    antithetic: bool

    def summed(self, place: int, size: torch.Size, nodes: Nodes) -> list[Tensor]:
        """Sums over nodes, one for each of the quantities asked about, `(*size)`.

        Arguments:
            place: Of a leaf of the noise among others.
            size: Of that leaf.
            nodes: Which, and their weights.
        """
        cell, node, weight = nodes
        chunk = len(node) if tracing() else max(1, _CHUNK // max(1, size.numel()))
        total: list[Tensor] = []
        for start in range(0, len(node), chunk):
            rows = slice(start, start + chunk)
            drawn = self.drawn(place, size, cell[rows], node[rows])
            parts = []
            for k in range(self.functions):
                factors = weight[rows, :, k].to(self.dtype).unbind(1)
                terms = [align(factor, number) * number for factor, number in zip(factors, drawn, strict=True)]
                parts.append(sum(terms[1:], terms[0]).sum(0))
            total = parts if not total else [a + b for a, b in zip(total, parts, strict=True)]
        return total

    def drawn(self, place: int, size: torch.Size, cell: Tensor, node: Tensor) -> list[Tensor]:
        """The numbers of nodes, `(N, *size)` for each of their functions.

        Each node has a key, made of the seed, the leaf's place, cell and node; each row and column is a counter. Rows
        that are further down change nothing for those above.
        """
        rows, columns = (1, 1) if not size else (size[0], math.prod(size[1:]))
        half, seed = rows // 2, self.seed
        if self.antithetic and seed.dim():
            seed = seed[:half].repeat(2)
        if seed.dim():  # whose rows have keys of their own
            cell, node = (x if x.dim() > 1 else x[:, None] for x in (cell, node))
        words = signed(seed), signed((seed >> 32) + place * _GOLDEN)
        # two numbers come of one draw: those of two columns, or of two functions of a node
        paired = self.functions == 1
        width = (columns + 1) // 2 if paired else columns
        place_of = torch.arange(rows * width, dtype=torch.int32, device=node.device)
        if self.antithetic:
            place_of = place_of % max(1, half * width)
        if seed.dim():
            place_of = place_of % max(1, width)
        zero = torch.zeros((), dtype=torch.int32, device=node.device)
        found: list[Tensor] = []
        for draw in range((self.functions + 1) // 2):
            low, high = _KEY(*words, signed(cell), signed(node + (draw << 31)))
            # in one row of numbers, unless rows differ in their keys: compilers make vectors of the last axis
            shape = (rows, width) if low.dim() > 1 else (rows * width,)
            low, high = (word[..., None] for word in (low, high))
            drawn = normals((low, high), (place_of.reshape(shape), zero), self.dtype)
            found.extend(number.reshape(len(node), rows, width) for number in drawn)
        if paired:
            found = [torch.cat(found, -1)[..., :columns]]
        made = [number.reshape(len(node), *size) for number in found[: self.functions]]
        if not self.antithetic:
            return made
        # counters of the second half are those of the first one; nodes are its own, where rows have times of their own
        return [torch.cat((number[:, :half], -number[:, half:]), 1) for number in made]
