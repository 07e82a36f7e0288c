"""Normal numbers of random bits."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchdyn_sde.elementwise import Elementwise
from torchdyn_sde.threefry import threefry

__all__ = ["box_muller", "normals"]

# Minimax polynomials in the square of the angle on [-pi/4, pi/4], of Cephes: sin(x)/x - 1 and cos(x) - 1 + x^2/2,
# divided by x^2 and x^4.
_SIN = {
    torch.float32: (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1),
    torch.float64: (
        1.58962301576546568060e-10, -2.50507477628578072866e-8, 2.75573136213857245213e-6,
        -1.98412698295895385996e-4, 8.33333333332211858878e-3, -1.66666666666666307295e-1,
    ),
}  # fmt: skip
_COS = {
    torch.float32: (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2),
    torch.float64: (
        -1.13585365213876817300e-11, 2.08757008419747316778e-9, -2.75573141792967388112e-7,
        2.48015872888517045348e-5, -1.38888888888730564116e-3, 4.16666666666665929218e-2,
    ),
}  # fmt: skip


def box_muller(m: Any, bits: tuple[Any, Any], dtype: torch.dtype) -> tuple[Any, Any]:
    """Two independent standard normal numbers of each two words of random bits: Box and Muller's.

    One word gives the radius, in steps of 2^-31 of its distribution, so that no number is larger than 6.7. The other
    gives the angle: a quarter turn, and within it a fraction of which sine and cosine are polynomials, the same on
    every device. Both dtypes have the same numbers, up to rounding.

    Arguments:
        m: The functions to compute with: `Tensors`, or the compiler's.
        bits: Words.
        dtype: float32 or float64.

    Shapes:
        bits: int32, any.  output: alike.

    References:
        Box, Muller (1958), A note on the generation of random normal deviates. doi:10.1214/aoms/1177706645

    Example:
        >>> import torch
        >>> from torchdyn_sde.elementwise import Tensors
        >>> from torchdyn_sde.normal import box_muller
        >>> word = torch.tensor(2**30, dtype=torch.int32)
        >>> [round(float(x), 4) for x in box_muller(Tensors, (word, 0 * word), torch.float64)]
        [1.6651, 0.0]
    """
    # half the word's range: what is left are 31 bits, to which half a step is added: the logarithm's argument is not 0
    uniform = m.cast((bits[0] >> 1) & 0x7FFFFFFF, dtype) * 2.0**-31 + 2.0**-32
    radius = m.sqrt(-2.0 * m.log(uniform))
    quarter = bits[1] >> 30  # -2 to 1
    angle = m.cast(bits[1] << 2, dtype) * (math.pi * 2.0**-33)
    square = angle * angle
    sine = _polynomial(_SIN[dtype], square) * square * angle + angle
    cosine = _polynomial(_COS[dtype], square) * (square * square) - 0.5 * square + 1.0
    odd = (quarter & 1) != 0
    one, other = m.select(odd, sine, cosine), m.select(odd, cosine, sine)
    # the four turns: (c, s), (-s, c), (-c, -s), (s, -c)
    one = m.select((quarter == 1) | (quarter == -2), -one, one)
    other = m.select(quarter < 0, -other, other)
    return radius * one, radius * other


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    value = x * coefficients[0] + coefficients[1]
    for coefficient in coefficients[2:]:
        value = value * x + coefficient
    return value


def _drawn(m: Any, dtype: torch.dtype, key0: Any, key1: Any, counter0: Any, counter1: Any) -> tuple[Any, Any]:
    return box_muller(m, threefry((key0, key1), (counter0, counter1)), dtype)


_DRAW = {
    dtype: Elementwise(name, lambda m, *words, dtype=dtype: _drawn(m, dtype, *words), 4, [dtype, dtype])
    for name, dtype in (("normals_float32", torch.float32), ("normals_float64", torch.float64))
}


def normals(key: tuple[Tensor, Tensor], counter: tuple[Tensor, Tensor], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two independent standard normal numbers for each key and counter.

    Arguments:
        key: Words that tell streams apart.
        counter: Words that tell numbers of a stream apart.
        dtype: float32 or float64.

    Shapes:
        key, counter: int32, any that broadcast.  output: likewise.

    Example:
        >>> import torch
        >>> from torchdyn_sde.normal import normals
        >>> zero, places = torch.zeros((), dtype=torch.int32), torch.arange(3, dtype=torch.int32)
        >>> normals((zero, zero), (places, zero), torch.float32)[0].shape
        torch.Size([3])
    """
    one, other = _DRAW[dtype](*key, *counter)
    return one, other
