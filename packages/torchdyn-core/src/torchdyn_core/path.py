"""Paths: controls and noises that drive a field, known by their increments."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["Path"]


class Path(nn.Module, ABC):
    """A path `X` in time: what a controlled or a stochastic differential equation is driven by.

    A path is a pure function of the interval: asked about the same interval twice it gives the same increment, bit for
    bit, in any order. Its tensors are buffers (or parameters): gradients reach them.

    Shapes:
        ta, tb, t: float64, `()`, or `(R,)` with steps per sample.

    Example:
        >>> import torch
        >>> from torchdyn_core import Path
        >>> class Line(Path):
        ...     def forward(self, ta, tb):
        ...         return 2.0 * (tb - ta)
        ...     def derivative(self, t):
        ...         return torch.full_like(t, 2.0)
        >>> Line()(torch.tensor(0.0), torch.tensor(0.5))
        tensor(1.)
    """

    @abstractmethod
    def forward(self, ta: Tensor, tb: Tensor) -> Tensor:
        """The increment `X(tb) - X(ta)`."""

    def derivative(self, t: Tensor) -> Tensor:
        """dX/dt, for paths that have one."""
        raise NotImplementedError(f"{type(self).__name__} has no derivative")

    def knots(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        """Times between `t0` and `t1` at which the derivative jumps, `(K,)` or `(K, B)`; steps end there."""
        return None
