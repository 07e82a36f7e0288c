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
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchdyn_sde.elementwise import Elementwise

__all__ = ["Weights", "products", "weights", "whole"]

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

Matrix = list[list[Any]]
"""Of inner products; its entries are tensors of one shape, or the compiler's numbers."""


class Weights(NamedTuple):
    """What the noise on the nodes that hold one end of an interval adds to what is asked about the interval.

    Arguments:
        node: Which node: 0 is the cell, `2^l + n` the `n`-th one of level `l`; the last one is the leaf. `(L + 2, *)`.
        weight: Of each of its functions in each of the results, `(L + 2, J, J, *)`.
    """

    node: Tensor
    weight: Tensor


def weights(a: Tensor, b: Tensor, end: bool, levels: int, count: int) -> Weights:
    """Weights of the nodes of a cell that hold an end of an interval.

    Arguments:
        a: Where the interval begins, in units of the cell; may be outside of it.
        b: Where it ends, `b >= a`.
        end: Which end is in the cell: False for `a`, True for `b`.
        levels: Levels of nodes.
        count: How many Legendre polynomials are asked about: 1, 2 or 3.

    Shapes:
        a, b: float64, any, alike.

    Example:
        >>> import torch
        >>> from torchdyn_sde.multiwavelets import weights
        >>> zero, half = torch.tensor([0.0, 0.5], dtype=torch.float64)
        >>> found = weights(zero, half, True, 1, 1)
        >>> found.node.tolist(), [round(weight, 4) for weight in found.weight.flatten().tolist()]
        ([0, 1, 2], [0.7071, 0.7071, 0.0])
    """
    parts = 2.0 ** torch.arange(levels, dtype=a.dtype, device=a.device).reshape(-1, *(1,) * a.dim())
    first = torch.zeros_like(a)
    inner, (leaf, *leaves) = _INNER[count, end](a, b, parts), _LEAF[count, end](a, b, first + 2.0**levels)
    root = _ROOT[count](a, b)
    rows = [torch.cat((one[None], some, last[None])) for one, some, last in zip(root, inner[1:], leaves, strict=True)]
    nodes = torch.cat((first[None], inner[0], leaf[None])).long()
    return Weights(nodes, torch.stack(rows, 1).unflatten(1, (count, count)))


def whole(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Weights of the Legendre polynomials of cells that hold no end of an interval.

    Shapes:
        a, b: `(N, *)`.  output: `(N, J, J, *)`.
    """
    made: Tensor = torch.stack(_ROOT[count](a, b), 1).unflatten(1, (count, count))
    return made


def _of_root(m: Any, count: int, a: Any, b: Any) -> tuple[Any, ...]:
    zero = 0.0 * a
    return _flat(_overlap(m, a, b - a, zero, zero + 1.0, count))


def _of_nodes(m: Any, count: int, end: bool, a: Any, b: Any, parts: Any) -> tuple[Any, ...]:
    """The node of a level that holds an end, and weights of its wavelets."""
    index, _ = _held(m, b if end else a, end, parts)
    width = 1.0 / parts
    left, right = (_overlap(m, a, b - a, (index + half) * width, 0.5 * width, count) for half in (0.0, 0.5))
    made = [[_wavelet(j, k, left, right, count) for k in range(count)] for j in range(count)]
    return parts + index, *_flat(made)


def _held(m: Any, time: Any, end: bool, parts: Any) -> tuple[Any, Any]:
    """Which of the parts of a cell holds a time, and where it is, in parts.

    A time on the border of two parts is in the one that the interval reaches into.
    """
    place = _bounded(m, time, 0.0, 1.0) * parts
    index = m.ceil(place) - 1.0 if end else m.floor(place)
    return m.minimum(m.select(index < 0.0, 0.0 * index, index), parts - 1.0), place


def _bounded(m: Any, x: Any, low: float, high: float) -> Any:
    x = m.select(x < low, 0.0 * x + low, x)
    return m.select(x > high, 0.0 * x + high, x)


def _flat(matrix: Matrix) -> tuple[Any, ...]:
    return tuple(entry for row in matrix for entry in row)


def _legendre(x: Any, count: int) -> list[Any]:
    """Orthonormal Legendre polynomials on [0, 1]."""
    values = [0.0 * x + 1.0]
    if count > 1:
        values.append(math.sqrt(3.0) * (2.0 * x - 1.0))
    if count > 2:
        values.append(math.sqrt(5.0) * (6.0 * x * (x - 1.0) + 1.0))
    return values


def _overlap(m: Any, a: Any, h: Any, start: Any, width: Any, count: int) -> Matrix:
    """Inner products `[j][k]` of the Legendre polynomial `j` of a part with that of an interval, `k`, where they meet.

    Nothing cancels: both are looked at where they meet, by a quadrature that is exact.
    """
    low, high = m.maximum(a, start), m.minimum(a + h, start + width)
    length = high - low
    length = m.select(length < 0.0, 0.0 * length, length)
    return products(m, (low, length), (start, width), (a, h), count)


def products(m: Any, on: tuple[Any, Any], part: tuple[Any, Any], interval: tuple[Any, Any], count: int) -> Matrix:
    """Inner products, on a stretch, of the Legendre polynomials of a part and of an interval, extended where need be.

    Arguments:
        m: The functions to compute with: `Tensors`, or the compiler's.
        on: Where the stretch begins, and its length.
        part: The same of the part.
        interval: The same of the interval.
        count: How many polynomials.
    """
    (low, length), (start, width), (a, h) = on, part, interval
    empty = h <= 0.0
    safe = m.select(empty, 0.0 * h + 1.0, h)
    scale = m.select(empty, 0.0 * length, length / m.sqrt(width * safe))
    made: Matrix = [[0.0 for _ in range(count)] for _ in range(count)]
    for node, weight in zip(_NODES[count - 1], _QUADRATURE[count - 1], strict=True):
        x = low + node * length
        own, asked = _legendre((x - start) / width, count), _legendre((x - a) / safe, count)
        for j in range(count):
            for k in range(count):
                made[j][k] = made[j][k] + (weight * scale) * own[j] * asked[k]
    return made


def _wavelet(j: int, k: int, left: Matrix, right: Matrix, count: int) -> Any:
    """The inner product of wavelet `j` with polynomial `k` of the interval, from those of the halves' polynomials."""
    total: Any = 0.0
    for coefficient, degree, even in _WAVELETS[count - 1][j]:
        sign = (-1.0) ** degree if even else -((-1.0) ** degree)
        total = total + (coefficient * _HALF) * (left[degree][k] + sign * right[degree][k])
    return total


def _of_leaf(m: Any, count: int, end: bool, a: Any, b: Any, parts: Any) -> tuple[Any, ...]:
    """The leaf that holds an end, and weights of the normal numbers of what is left of its noise.

    What polynomials on the leaf make of the rest is nothing. So the rest's part of the interval is that of one side of
    the end, or minus that of the other side: the shorter side is taken. An interval that ends here has the left side,
    one that begins here the right one, minus the left one. Numbers of the right side are taken with the other sign,
    which makes the path continuous where the sides change.
    """
    index, place = _held(m, b if end else a, end, parts)
    h, width = b - a, 1.0 / parts
    start, cut = index * width, place - index
    left = cut <= 0.5
    low, length = m.select(left, start, start + cut * width), m.select(left, cut, 1.0 - cut) * width
    length = m.select(length <= 0.0, 0.0 * length + 1e-300, length)
    side = low, length
    spread = _cholesky(m, products(m, side, (start, width), side, count), count)
    asked = products(m, side, side, (a, h), count)  # [side's i][interval's k]
    sign = 1.0 if end else -1.0
    # an interval within one leaf: only its increment, as the difference of the path's values, so that they add up
    within = (a > start) if end else (b < start + width)
    small = m.select(h <= 0.0, 0.0 * h + 1.0, h)
    value = sign * m.sqrt(length / small) * spread[0][0]
    made: Matrix = [[0.0 for _ in range(count)] for _ in range(count)]
    for j in range(count):
        for k in range(count):
            for i in range(j, count):
                made[j][k] = made[j][k] + sign * asked[i][k] * spread[i][j]
            made[j][k] = m.select(within, value if j == k == 0 else 0.0 * value, made[j][k])
    return parts + index, *_flat(made)


def _cholesky(m: Any, known: Matrix, count: int) -> Matrix:
    """The lower triangular root of `1 - known^T known`, the covariance of what is not known."""
    root: Matrix = [[0.0 for _ in range(count)] for _ in range(count)]
    for i in range(count):
        for j in range(i + 1):
            value: Any = float(i == j)
            for k in range(count):
                value = value - known[k][i] * known[k][j]
            for k in range(j):
                value = value - root[i][k] * root[j][k]
            if i == j:
                root[i][j] = m.sqrt(m.select(value < 0.0, 0.0 * value, value))
            else:
                flat = root[j][j] <= 0.0
                root[i][j] = m.select(flat, 0.0 * value, value / m.select(flat, 0.0 * value + 1.0, root[j][j]))
    return root


def _made(name: str, function: Any, count: int, extra: int, arguments: int, **options: bool) -> Elementwise:
    """A function of these as an operator."""

    def called(m: Any, *given: Any) -> tuple[Any, ...]:
        made: tuple[Any, ...] = function(m, count, *options.values(), *given)
        return made

    return Elementwise(name, called, arguments, [torch.float64] * (extra + count * count))


_COUNTS, _ENDS = (1, 2, 3), (False, True)
_ROOT = {count: _made(f"root{count}", _of_root, count, 0, 2) for count in _COUNTS}
_INNER = {(n, end): _made(f"nodes{n}{'ab'[end]}", _of_nodes, n, 1, 3, end=end) for n in _COUNTS for end in _ENDS}
_LEAF = {(n, end): _made(f"leaf{n}{'ab'[end]}", _of_leaf, n, 1, 3, end=end) for n in _COUNTS for end in _ENDS}
