"""Layers whose weights vary with depth, expanded in a basis of functions of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from torchdyn_augment.bases import Basis, Fourier
from torchdyn_augment.checks import checked_count
from torchdyn_augment.depth_variant import DepthVariant
from torchdyn_core import OptionError, ShapeError

__all__ = ["GalerkinConv1d", "GalerkinConv2d", "GalerkinLinear"]


class _Galerkin(DepthVariant):
    """Weights in a basis: their values at a depth, or the layer's values for each function where rows differ.

    Arguments:
        basis: The functions of depth.
        shape: Of the weight, the outputs first.
        bias: Whether there is one.
    """

    def __init__(self, basis: Basis, shape: Sequence[int], bias: bool) -> None:
        super().__init__()
        if not isinstance(basis, Basis):
            got = f"the class {basis.__name__}: call it" if isinstance(basis, type) else repr(basis)
            raise OptionError(f"basis is {got}; wanted a Basis, as Fourier(5)")
        self.basis = basis
        self.weight = nn.Parameter(torch.empty(basis.size, *shape))
        self.bias = nn.Parameter(torch.empty(basis.size, shape[0])) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw coefficients such that weights are, on average over depth, as large as those of torch's layers.

        Raises:
            OptionError: If the basis vanishes on [0, 1], or overflows there.
        """
        if self.weight.is_meta:
            return  # there is nothing to draw yet
        with torch.no_grad():
            t = torch.linspace(0.0, 1.0, 101, device=self.weight.device)
            size = float(self.basis(t).square().sum(-1).mean())
            if not 0.0 < size < math.inf:
                raise OptionError(
                    f"{self.basis} has a mean square of {size:g} on [0, 1]; wanted functions that are seen"
                )
            bound = (size * self.weight[0, 0].numel()) ** -0.5
            self.weight.uniform_(-bound, bound)
            if self.bias is not None:
                self.bias.uniform_(-bound, bound)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """The layer's output at depth `t`."""
        if t.dim() == 0:
            values = self.basis(t).to(self.weight.dtype)
            bias = None if self.bias is None else values @ self.bias
            return self.apply_weight(x, torch.tensordot(values, self.weight, 1), bias)
        rows = t.shape[0]
        if t.numel() != rows or x.shape[0] != rows:
            raise ShapeError(f"times {tuple(t.shape)} for a state {tuple(x.shape)}; wanted a time, or one for each row")
        values = self.basis(t.reshape(rows)).to(self.weight.dtype)
        # as many products as there are functions, in one: weights for each row would be as many, and have to be stored
        outs = self.weight.shape[1]
        every = self.apply_weight(x, self.weight.flatten(0, 1), None if self.bias is None else self.bias.flatten())
        axis = self.output_axis(every)
        every = every.unflatten(axis, (self.basis.size, outs))
        shape = [1] * every.dim()
        shape[0], shape[axis] = rows, self.basis.size
        weighted: Tensor = (every * values.reshape(shape)).sum(axis)
        return weighted

    def output_axis(self, output: Tensor) -> int:
        """The axis of the outputs."""
        raise NotImplementedError

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with these weights."""
        raise NotImplementedError

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        return self.basis.knots()


class GalerkinLinear(_Galerkin):
    """A linear layer whose weights vary with depth: `x W(t)^T + b(t)`, with `W(t) = sum_k c_k phi_k(t)`.

    Arguments:
        in_features: Size of the input's last axis.
        out_features: Size of the output's.
        basis: The functions `phi_k`. Default: `Fourier(5)`.
        bias: Whether there is one.

    Shapes:
        t: `()`, or one for each row.  x: `(N, *, in_features)`.  weight: `(K, out_features, in_features)`.

    Raises:
        OptionError: If a size is no whole number of at least 1, or `basis` is none.

    References:
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 3. arXiv 2002.08071

    Example:
        >>> import torch
        >>> from torchdyn_augment import GalerkinLinear
        >>> GalerkinLinear(2, 3)(torch.tensor(0.5), torch.ones(5, 2)).shape
        torch.Size([5, 3])
    """

    def __init__(self, in_features: int, out_features: int, basis: Basis | None = None, *, bias: bool = True) -> None:
        shape = checked_count("out_features", out_features), checked_count("in_features", in_features)
        super().__init__(Fourier() if basis is None else basis, shape, bias)

    def output_axis(self, output: Tensor) -> int:
        return output.dim() - 1

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return functional.linear(x, weight, bias)

    def extra_repr(self) -> str:
        return f"in_features={self.weight.shape[2]}, out_features={self.weight.shape[1]}, bias={self.bias is not None}"


class _GalerkinConv(_Galerkin):
    axes: int

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        basis: Basis | None = None,
        *,
        bias: bool = True,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] | str = 0,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        shape = checked_count("out_channels", out_channels), checked_count("in_channels", in_channels)
        sizes = kernel_size if isinstance(kernel_size, Sequence) else (kernel_size,) * self.axes
        kernel = tuple(checked_count("kernel_size", size) for size in sizes)
        if len(kernel) != self.axes:
            raise OptionError(f"kernel_size={kernel_size!r}; wanted a whole number >= 1, or {self.axes} of them")
        super().__init__(Fourier() if basis is None else basis, (*shape, *kernel), bias)
        self.options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}

    def output_axis(self, output: Tensor) -> int:
        return 1

    def apply_weight(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.dim() != 2 + self.axes:
            raise ShapeError(
                f"{type(self).__name__} got shape {tuple(x.shape)}; wanted (N, C, {'L' if self.axes == 1 else 'H, W'})"
            )
        convolve = functional.conv1d if self.axes == 1 else functional.conv2d
        return convolve(x, weight, bias, **self.options)

    def extra_repr(self) -> str:
        outs, ins, *kernel = self.weight.shape[1:]
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return f"{ins}, {outs}, kernel_size={tuple(kernel)}{options}, bias={self.bias is not None}"


class GalerkinConv1d(_GalerkinConv):
    """A convolution over sequences whose weights vary with depth.

    Arguments:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the kernel.
        basis: The functions of depth. Default: `Fourier(5)`.
        bias: Whether there is one.
        stride: As in `torch.nn.Conv1d`.
        padding: As there, a number or "same" or "valid".
        dilation: As there.

    Shapes:
        t: `()`, or one for each row.  x: `(N, in_channels, L)`.

    Raises:
        OptionError: If a size is no whole number of at least 1, or `basis` is none.
        ShapeError: If the input is no batch of sequences.

    References:
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 3. arXiv 2002.08071

    Example:
        >>> import torch
        >>> from torchdyn_augment import GalerkinConv1d
        >>> GalerkinConv1d(2, 4, 3, padding=1)(torch.tensor(0.5), torch.ones(5, 2, 9)).shape
        torch.Size([5, 4, 9])
    """

    axes = 1


class GalerkinConv2d(_GalerkinConv):
    """A convolution over images whose weights vary with depth.

    Arguments:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Of the kernel.
        basis: The functions of depth. Default: `Fourier(5)`.
        bias: Whether there is one.
        stride: As in `torch.nn.Conv2d`.
        padding: As there, a number or "same" or "valid".
        dilation: As there.

    Shapes:
        t: `()`, or one for each row.  x: `(N, in_channels, H, W)`.

    Raises:
        OptionError: If a size is no whole number of at least 1, or `basis` is none.
        ShapeError: If the input is no batch of images.

    References:
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 3. arXiv 2002.08071

    Example:
        >>> import torch
        >>> from torchdyn_augment import GalerkinConv2d
        >>> GalerkinConv2d(2, 4, 3, padding=1)(torch.tensor(0.5), torch.ones(5, 2, 9, 9)).shape
        torch.Size([5, 4, 9, 9])
    """

    axes = 2
