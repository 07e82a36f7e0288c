"""Brownian motions over `BrownianInterval`: with values, backwards in time."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdyn_core import OptionError
from torchdyn_sde.compat.torchsde.brownian import BaseBrownian, BrownianInterval, Time

__all__ = ["BrownianPath", "BrownianTree", "ReverseBrownian", "brownian_interval_like"]


class _Wrapped(BaseBrownian):
    """A motion that starts at a value, over another one's increments."""

    _interval: BrownianInterval
    _w0: Tensor

    def __call__(self, t: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False) -> Any:
        out = self._interval(t, tb, return_U=return_U, return_A=return_A)
        return out + self._w0 if tb is None and not return_U and not return_A else out

    @property
    def interval(self) -> BrownianInterval:
        """Its increments."""
        return self._interval

    def __repr__(self) -> str:
        return f"{type(self).__name__}(interval={self._interval})"

    @property
    def dtype(self) -> torch.dtype:
        return self._interval.dtype

    @property
    def device(self) -> torch.device:
        return self._interval.device

    @property
    def shape(self) -> tuple[int, ...]:
        return self._interval.shape

    @property
    def levy_area_approximation(self) -> str:
        return self._interval.levy_area_approximation


class BrownianPath(_Wrapped):
    """A Brownian motion over one unit of time that starts at a value; increments are `BrownianInterval`'s.

    Arguments:
        t0: Where it begins.
        w0: Its value there, whose shape, dtype and device are the motion's.
        window_size: No effect.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde import BrownianPath
        >>> bm = BrownianPath(0.0, torch.ones(4, 1))
        >>> torch.equal(bm(0.0), torch.ones(4, 1)), bm(0.2, 0.5).shape
        (True, torch.Size([4, 1]))
    """

    def __init__(self, t0: Time, w0: Tensor, window_size: int = 8) -> None:
        self._w0 = w0
        self._interval = BrownianInterval(t0, t0 + 1, size=w0.shape, dtype=w0.dtype, device=w0.device)


class BrownianTree(_Wrapped):
    """A Brownian motion that is a function of `entropy` alone, from a value to another one or to a random one.

    Arguments:
        t0: Where it begins.
        w0: Its value there.
        t1: Where it ends. Default: one unit of time later.
        w1: Its value there. Default: a random one.
        entropy: The seed, a whole number. Default: drawn from torch's generator.
        tol: The length below which it is smooth.
        pool_size: No effect.
        cache_depth: No effect.
        safety: No effect.

    Raises:
        OptionError: If an option makes no sense.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde import BrownianTree
        >>> first, second = (BrownianTree(0.0, torch.zeros(4, 1), entropy=3) for _ in range(2))
        >>> torch.equal(first(0.3, 0.7), second(0.3, 0.7))
        True
    """

    def __init__(
        self,
        t0: Time,
        w0: Tensor,
        t1: Time | None = None,
        w1: Tensor | None = None,
        entropy: int | None = None,
        tol: float = 1e-6,
        pool_size: int = 24,
        cache_depth: int = 9,
        safety: float | None = None,
    ) -> None:
        self._w0 = w0
        self._interval = BrownianInterval(
            t0, t0 + 1 if t1 is None else t1, size=w0.shape, dtype=w0.dtype, device=w0.device, entropy=entropy, tol=tol,
            pool_size=pool_size, halfway_tree=True, W=None if w1 is None else w1 - w0,
        )  # fmt: skip


class ReverseBrownian(BaseBrownian):
    """A motion in a time that runs the other way: over `[ta, tb]` what another one does over `[-tb, -ta]`.

    Arguments:
        base_brownian: The other one.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde import BrownianInterval, ReverseBrownian
        >>> bm = BrownianInterval(0.0, 1.0, size=(3,), entropy=0)
        >>> torch.equal(ReverseBrownian(bm)(-0.7, -0.2), bm(0.2, 0.7))
        True
    """

    def __init__(self, base_brownian: BaseBrownian) -> None:
        self.base_brownian = base_brownian

    def __call__(self, ta: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False) -> Any:
        if tb is None:
            raise OptionError("a ReverseBrownian was asked for a value; wanted an interval, ta and tb")
        return self.base_brownian(-tb, -ta, return_U=return_U, return_A=return_A)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_brownian={self.base_brownian})"

    @property
    def dtype(self) -> torch.dtype:
        return self.base_brownian.dtype

    @property
    def device(self) -> torch.device:
        return self.base_brownian.device

    @property
    def shape(self) -> tuple[int, ...]:
        return self.base_brownian.shape

    @property
    def levy_area_approximation(self) -> str:
        return self.base_brownian.levy_area_approximation


def brownian_interval_like(
    y: Tensor,
    t0: Time | None = 0.0,
    t1: Time | None = 1.0,
    size: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
    device: str | torch.device | None = None,
    **kwargs: Any,
) -> BrownianInterval:
    """A `BrownianInterval` of a tensor's shape, dtype and device, but for what is given.

    Arguments:
        y: The tensor.
        t0: Where it begins.
        t1: Where it ends.
        size: Of increments.
        dtype: Of increments.
        device: Where increments lie.
        **kwargs: Other options of `BrownianInterval`.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde import brownian_interval_like
        >>> brownian_interval_like(torch.zeros(4, 2, dtype=torch.float64)).dtype
        torch.float64
    """
    size = tuple(y.shape) if size is None else size
    dtype, device = y.dtype if dtype is None else dtype, y.device if device is None else device
    return BrownianInterval(t0, t1, size=size, dtype=dtype, device=device, **kwargs)
