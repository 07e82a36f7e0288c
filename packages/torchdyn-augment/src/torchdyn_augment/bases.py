"""Bases of functions of depth, in which weights that vary with it are expanded.

All take times of any shape and put the functions' values on a new last axis. Time is mapped to `s = dilation * t +
shift` first; on `s` in [0, 1] the bases are what their names say: whole harmonics, whole powers, orthogonal
polynomials.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from torchdyn_augment.checks import checked_count, checked_number
from torchdyn_core import OptionError

__all__ = ["Basis", "Chebyshev", "Fourier", "GaussianRBF", "Legendre", "PiecewiseConstant", "Polynomial"]


class Basis(nn.Module):
    """Functions of depth; subclasses say which, as `values(s)`.

    Arguments:
        size: How many functions.
        dilation: Factor of time.
        shift: Summand behind it.
        adaptive: Whether dilation and shift are learned.

    Shapes:
        input: times, `(*)`.  output: `(*, size)`.

    Raises:
        OptionError: If dilation or shift is no finite number, or the dilation is 0.

    References:
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 3. arXiv 2002.08071

    Example:
        >>> import torch
        >>> from torchdyn_augment.bases import Polynomial
        >>> Polynomial(2)(torch.tensor(0.5))
        tensor([1.0000, 0.5000, 0.2500])
    """

    dilation: float | nn.Parameter
    shift: float | nn.Parameter

    def __init__(self, size: int, *, dilation: float = 1.0, shift: float = 0.0, adaptive: bool = False) -> None:
        super().__init__()
        dilation, shift = checked_number("dilation", dilation), checked_number("shift", shift)
        if dilation == 0.0:
            raise OptionError("dilation=0.0; wanted another number")
        self.size = size
        # numbers where they are not learned: right in the dtype of every time
        self.dilation = nn.Parameter(torch.tensor(dilation)) if adaptive else dilation
        self.shift = nn.Parameter(torch.tensor(shift)) if adaptive else shift

    def forward(self, t: Tensor) -> Tensor:
        """The functions' values at times."""
        t = t if t.is_floating_point() else t.to(torch.get_default_dtype())
        dilation, shift = (x.to(t.dtype) if isinstance(x, Tensor) else x for x in (self.dilation, self.shift))
        return self.values(dilation * t + shift)

    def values(self, s: Tensor) -> Tensor:
        """The functions' values at mapped times."""
        raise NotImplementedError(f"{type(self).__name__} defines no values(s)")

    def knots(self) -> Tensor | None:
        """Times at which a function jumps, or None."""
        return None

    def extra_repr(self) -> str:
        return f"size={self.size}"


class Fourier(Basis):
    """The constant, and cosines and sines of whole harmonics: `1, cos 2 pi k s, sin 2 pi k s` for `k = 1, ..., degree`.

    Orthogonal on [0, 1].

    Arguments:
        degree: The highest harmonic; the basis has `2 degree + 1` functions.
        dilation: Factor of time.
        shift: Summand behind it.
        adaptive: Whether dilation and shift are learned.

    Raises:
        OptionError: If the degree is no whole number of at least 1.

    Example:
        >>> import torch
        >>> from torchdyn_augment import Fourier
        >>> Fourier(1)(torch.tensor([0.0, 0.25])).round(decimals=3).abs().tolist()
        [[1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """

    def __init__(self, degree: int = 5, *, dilation: float = 1.0, shift: float = 0.0, adaptive: bool = False) -> None:
        self.degree = checked_count("degree", degree)
        super().__init__(2 * degree + 1, dilation=dilation, shift=shift, adaptive=adaptive)

    def values(self, s: Tensor) -> Tensor:
        harmonics = torch.arange(1, self.degree + 1, dtype=s.dtype, device=s.device)
        angle = 2 * math.pi * s.unsqueeze(-1) * harmonics
        return torch.cat((torch.ones_like(s).unsqueeze(-1), angle.cos(), angle.sin()), -1)


class _Polynomials(Basis):
    """A basis with a polynomial of each degree up to the highest."""

    def __init__(self, degree: int = 5, *, dilation: float = 1.0, shift: float = 0.0, adaptive: bool = False) -> None:
        self.degree = checked_count("degree", degree)
        super().__init__(degree + 1, dilation=dilation, shift=shift, adaptive=adaptive)


class Polynomial(_Polynomials):
    """Powers `1, s, ..., s^degree`.

    Arguments:
        degree: The highest power; the basis has `degree + 1` functions.
        dilation: Factor of time.
        shift: Summand behind it.
        adaptive: Whether dilation and shift are learned.

    Raises:
        OptionError: If the degree is no whole number of at least 1.

    Example:
        >>> import torch
        >>> from torchdyn_augment import Polynomial
        >>> Polynomial(3)(torch.tensor(2.0))
        tensor([1., 2., 4., 8.])
    """

    def values(self, s: Tensor) -> Tensor:
        powers = [torch.ones_like(s)]
        for _ in range(self.degree):
            powers.append(powers[-1] * s)  # its gradient at 0 is finite, as that of `s ** k` need not be
        return torch.stack(powers, -1)


class Chebyshev(_Polynomials):
    """Chebyshev polynomials of the first kind, `T_0, ..., T_degree`, on `x = 2 s - 1`.

    Orthogonal on [0, 1] with the weight `1 / sqrt(s (1 - s))`.

    Arguments:
        degree: The highest degree; the basis has `degree + 1` functions.
        dilation: Factor of time.
        shift: Summand behind it.
        adaptive: Whether dilation and shift are learned.

    Raises:
        OptionError: If the degree is no whole number of at least 1.

    Example:
        >>> import torch
        >>> from torchdyn_augment import Chebyshev
        >>> Chebyshev(3)(torch.tensor([0.0, 1.0]))
        tensor([[ 1., -1.,  1., -1.],
                [ 1.,  1.,  1.,  1.]])
    """

    def values(self, s: Tensor) -> Tensor:
        x = 2 * s - 1
        found = [torch.ones_like(x), x]
        for _ in range(1, self.degree):
            found.append(2 * x * found[-1] - found[-2])
        return torch.stack(found, -1)


class Legendre(_Polynomials):
    """Legendre polynomials `P_0, ..., P_degree` on `x = 2 s - 1`.

    Orthogonal on [0, 1].

    Arguments:
        degree: The highest degree; the basis has `degree + 1` functions.
        dilation: Factor of time.
        shift: Summand behind it.
        adaptive: Whether dilation and shift are learned.

    Raises:
        OptionError: If the degree is no whole number of at least 1.

    Example:
        >>> import torch
        >>> from torchdyn_augment import Legendre
        >>> Legendre(2)(torch.tensor([0.5, 1.0]))
        tensor([[ 1.0000,  0.0000, -0.5000],
                [ 1.0000,  1.0000,  1.0000]])
    """

    def values(self, s: Tensor) -> Tensor:
        x = 2 * s - 1
        found = [torch.ones_like(x), x]
        for k in range(1, self.degree):  # Bonnet's recursion
            found.append(((2 * k + 1) * x * found[-1] - k * found[-2]) / (k + 1))
        return torch.stack(found, -1)


class GaussianRBF(Basis):
    """Gaussian bumps around evenly spaced centres on [0, 1].

    Arguments:
        degree: How many bumps.
        width: Their standard deviation, in units of the distance between centres.
        dilation: Factor of time.
        shift: Summand behind it.
        adaptive: Whether dilation and shift are learned.

    Raises:
        OptionError: If the degree is no whole number of at least 1, or the width is not positive.

    Example:
        >>> import torch
        >>> from torchdyn_augment import GaussianRBF
        >>> GaussianRBF(3)(torch.tensor(0.5))
        tensor([0.6065, 1.0000, 0.6065])
    """

    def __init__(
        self, degree: int = 5, *, width: float = 1.0, dilation: float = 1.0, shift: float = 0.0, adaptive: bool = False
    ) -> None:
        self.degree = checked_count("degree", degree)
        super().__init__(degree, dilation=dilation, shift=shift, adaptive=adaptive)
        self.width = checked_number("width", width)
        if self.width <= 0.0:
            raise OptionError(f"width={width!r}; wanted a number > 0")

    def values(self, s: Tensor) -> Tensor:
        gaps = max(self.degree - 1, 1)
        places = torch.arange(self.degree, dtype=s.dtype, device=s.device) if self.degree > 1 else 0.5
        return (-0.5 * ((s.unsqueeze(-1) * gaps - places) / self.width).square()).exp()


class PiecewiseConstant(Basis):
    """Indicators of equal pieces of depth: weights of a stack of layers (a stacked neural ODE).

    Fields whose layers have this basis jump between pieces; steps end there. What dilation and shift are to the other
    bases, `t0` and `t1` are to this one; a gradient to them it has none.

    Arguments:
        pieces: How many.
        t0: Where the first piece begins; before it, the first one holds.
        t1: Where the last one ends; behind it, the last one holds.

    Raises:
        OptionError: If the number of pieces is no whole number of at least 1, or `t0` is not below `t1`.

    Example:
        >>> import torch
        >>> from torchdyn_augment import PiecewiseConstant
        >>> PiecewiseConstant(2)(torch.tensor([0.2, 0.7]))
        tensor([[1., 0.],
                [0., 1.]])
    """

    inner: Tensor

    def __init__(self, pieces: int = 2, *, t0: float = 0.0, t1: float = 1.0) -> None:
        super().__init__(checked_count("pieces", pieces))
        if not checked_number("t0", t0) < checked_number("t1", t1):
            raise OptionError(f"t0={t0!r}, t1={t1!r}; wanted two finite times, the first one below the other")
        edges = [t0 + (t1 - t0) * piece / pieces for piece in range(1, pieces)]
        self.register_buffer("inner", torch.tensor(edges, dtype=torch.float64))

    def values(self, s: Tensor) -> Tensor:
        # a comparison with the very numbers that steps end at: on either side of a knot there is one piece
        piece = (s.unsqueeze(-1) >= self.inner.to(s.dtype)).sum(-1, keepdim=True)
        return (piece == torch.arange(self.size, device=s.device)).to(s.dtype)

    def knots(self) -> Tensor | None:
        return self.inner if self.size > 1 else None
