"""White noise on an interval, in a basis whose functions are local: Legendre polynomials and Alpert's multiwavelets.

A Brownian path is the integral of white noise, and white noise is a sum of independent normal numbers, one for each
function of an orthonormal basis. What is asked about an interval is what Legendre polynomials on it make of the noise:
the first one gives the path's increment, the second its space-time Levy area, the third its space-time-time area. Each
of them is a weighted sum of the basis' normal numbers, with weights that are inner products.

The basis: on a whole cell, Legendre polynomials; on each dyadic part, a node, wavelets that are polynomials on both of
its halves, orthogonal to all polynomials on the node. Nodes that lie within the asked interval, or outside of it,
therefore weigh nothing: of each level only those two count that hold one of its ends. On the finest nodes, the leaves,
that an end cuts, the rest of the noise, of which there is no finer node, is added in distribution.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Weights", "weights", "whole"]

_HALF = math.sqrt(0.5)
# Wavelets as combinations of Legendre polynomials L_k on the left half and R_k on the right one, in terms of
# o_k = (L_k - (-1)^k R_k) / sqrt(2) and e_k = (L_k + (-1)^k R_k) / sqrt(2): (coefficient, k, whether it is an e_k).
_WAVELETS = (
    (((1.0, 0, False),),),
    (((0.5, 0, False), (math.sqrt(0.75), 1, False)), ((1.0, 1, True),)),
    (
        ((0.5, 0, False), (math.sqrt(0.75), 1, False)),
        ((0.25, 1, True), (math.sqrt(15 / 16), 2, True)),
        ((1.0, 2, False),),
    ),
)
_NODES = (
    (0.5,),
    (0.5 - math.sqrt(1 / 12), 0.5 + math.sqrt(1 / 12)),
    (0.5 - math.sqrt(3 / 20), 0.5, 0.5 + math.sqrt(3 / 20)),
)
_QUADRATURE = ((1.0,), (0.5, 0.5), (5 / 18, 4 / 9, 5 / 18))

Matrix = list[list[Tensor]]
"""Of inner products; its entries are tensors of one shape."""


class Weights(NamedTuple):
    """What the noise on the nodes that hold one end of an interval adds to what is asked about the interval.

    Arguments:
        node: Which node: 0 is the cell, `2^l + n` the `n`-th one of level `l`; the last one is the leaf. `(L + 2, *)`.
        weight: Of each of its functions in each of the results, `(L + 2, J, J, *)`.
    """

    node: Tensor
    weight: Tensor


def weights(a: Tensor, b: Tensor, end: Tensor, levels: int, count: int) -> Weights:
    """Weights of the nodes of a cell that hold an end of an interval.

    Arguments:
        a: Where the interval begins, in units of the cell; may be outside of it.
        b: Where it ends, `b >= a`.
        end: Which end is in the cell: False for `a`, True for `b`.
        levels: Levels of nodes.
        count: How many Legendre polynomials are asked about: 1, 2 or 3.

    Shapes:
        a, b, end: float64 and bool, any, alike.

    Example:
        >>> import torch
        >>> from torchdyn_sde.multiwavelets import weights
        >>> half = weights(torch.tensor(0.0), torch.tensor(0.5), torch.tensor(True), 1, 1)
        >>> half.node.tolist(), half.weight.flatten().tolist()
        ([0, 1, 2], [0.7071067690849304, 0.7071067690849304, 0.0])
    """
    h = b - a
    level = torch.arange(levels, device=a.device)
    parts = (1 << level).reshape(-1, *(1,) * a.dim())
    place = torch.where(end, b, a).clamp(0.0, 1.0) * parts
    # an end on the border of two nodes is in the one that the interval reaches into
    index = torch.where(end, place.ceil() - 1.0, place.floor()).clamp(min=0.0).minimum(parts - 1.0)
    width = 1.0 / parts.to(a.dtype)
    halves = [_overlap(a, h, index * width + half * width, 0.5 * width, count) for half in (0.0, 0.5)]
    inner = [[_wavelet(j, k, halves[0], halves[1], count) for k in range(count)] for j in range(count)]
    root = _overlap(a, h, torch.zeros_like(a), torch.ones_like(a), count)
    node, leaf = _leaf(a, b, h, end, levels, count)
    nodes = torch.cat((torch.zeros_like(node)[None], parts + index.long(), node[None]))
    stacked = [
        torch.stack([torch.cat((root[j][k][None], inner[j][k], leaf[j][k][None])) for k in range(count)], 1)
        for j in range(count)
    ]
    return Weights(nodes, torch.stack(stacked, 1))


def whole(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Weights of the Legendre polynomials of a cell alone, `(*, ...)` as `(N, J, J, ...)`: one that holds no end.

    Shapes:
        a, b: `(N, *)`.  output: `(N, J, J, *)`.
    """
    root = _overlap(a, b - a, torch.zeros_like(a), torch.ones_like(a), count)
    return torch.stack([torch.stack(row, 1) for row in root], 1)


def _legendre(x: Tensor, count: int) -> list[Tensor]:
    """Orthonormal Legendre polynomials on [0, 1]."""
    values = [torch.ones_like(x), math.sqrt(3.0) * (2.0 * x - 1.0), math.sqrt(5.0) * (6.0 * x * (x - 1.0) + 1.0)]
    return values[:count]


def _overlap(a: Tensor, h: Tensor, start: Tensor, width: Tensor, count: int) -> Matrix:
    """Inner products `[j][k]` of the Legendre polynomial `j` of a part with that of an interval, `k`, where they meet.

    Nothing cancels: both are looked at where they meet, by a quadrature that is exact.
    """
    low, high = torch.maximum(a, start), torch.minimum(a + h, start + width)
    length = (high - low).clamp(min=0.0)
    return _product((low, length), (start, width), (a, h), count)


def _product(
    on: tuple[Tensor, Tensor], part: tuple[Tensor, Tensor], interval: tuple[Tensor, Tensor], count: int
) -> Matrix:
    """Inner products, on a stretch, of the Legendre polynomials of a part and of an interval, extended where need be.

    All three are given by start and length.
    """
    (low, length), (start, width), (a, h) = on, part, interval
    scale = torch.where(h > 0, length / (width * h).clamp(min=1e-300).sqrt(), 0.0)
    made = [[torch.zeros_like(scale) for _ in range(count)] for _ in range(count)]
    for node, weight in zip(_NODES[count - 1], _QUADRATURE[count - 1], strict=True):
        x = low + node * length
        own = _legendre((x - start) / width, count)
        asked = _legendre((x - a) / torch.where(h > 0, h, 1.0), count)
        for j in range(count):
            for k in range(count):
                made[j][k] = made[j][k] + (weight * scale) * own[j] * asked[k]
    return made


def _wavelet(j: int, k: int, left: Matrix, right: Matrix, count: int) -> Tensor:
    """The inner product of wavelet `j` with polynomial `k` of the interval, from those of the halves' polynomials."""
    total = torch.zeros_like(left[0][k])
    for coefficient, degree, even in _WAVELETS[count - 1][j]:
        sign = (-1.0) ** degree if even else -((-1.0) ** degree)
        total = total + (coefficient * _HALF) * (left[degree][k] + sign * right[degree][k])
    return total


def _leaf(a: Tensor, b: Tensor, h: Tensor, end: Tensor, levels: int, count: int) -> tuple[Tensor, Matrix]:
    """The leaf that holds an end, and the weights of the normal numbers of what is left of its noise.

    What polynomials on the leaf make of the rest is nothing. So the rest's part of the interval is that of one side of
    the end, or minus that of the other side: the shorter side is taken.
    """
    parts = float(1 << levels)
    place = torch.where(end, b, a).clamp(0.0, 1.0) * parts
    index = torch.where(end, place.ceil() - 1.0, place.floor()).clamp(min=0.0).clamp(max=parts - 1.0)
    width = torch.full_like(a, 1.0 / parts)
    start = index * width
    cut = place - index  # where the end cuts the leaf
    left = cut <= 0.5
    low = torch.where(left, start, start + cut * width)
    length = torch.where(left, cut, 1.0 - cut) * width
    side, whole = (low, length.clamp(min=1e-300)), (start, width)
    known = _product((low, length), whole, side, count)  # [leaf's j][side's i]
    spread = _cholesky(known, count)
    asked = _product((low, length), side, (a, h), count)  # [side's i][interval's k]
    # An interval that ends here has the left side, one that begins here the right one, minus the left one. Numbers of
    # the right side are taken with the other sign, which makes the path continuous where the sides change.
    sign = torch.where(end, 1.0, -1.0)
    # an interval within one leaf: only its increment, as the difference of the path's values, so that they add up
    within = torch.where(end, a > start, b < start + width)
    made = []
    for j in range(count):
        row = []
        for k in range(count):
            value = sign * sum(asked[i][k] * spread[i][j] for i in range(j, count))
            own = sign * (length / h.clamp(min=1e-300)).sqrt() * spread[0][j] if k == 0 and j == 0 else 0.0 * value
            row.append(torch.where(within, own, value))
        made.append(row)
    return (torch.full_like(index, parts) + index).long(), made


def _cholesky(known: Matrix, count: int) -> Matrix:
    """The lower triangular root of `1 - known^T known`, the covariance of what is not known."""
    root: Matrix = [[torch.zeros_like(known[0][0]) for _ in range(count)] for _ in range(count)]
    for i in range(count):
        for j in range(i + 1):
            value = torch.full_like(known[0][0], float(i == j)) - sum(known[m][i] * known[m][j] for m in range(count))
            value = value - sum((root[i][m] * root[j][m] for m in range(j)), torch.zeros_like(value))
            if i == j:
                root[i][j] = value.clamp(min=0.0).sqrt()
            else:
                root[i][j] = torch.where(root[j][j] > 0, value / root[j][j].clamp(min=1e-150), 0.0)
    return root
