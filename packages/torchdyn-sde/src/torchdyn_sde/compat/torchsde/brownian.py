"""`BrownianInterval`, with torchsde's signature, on `torchdyn_sde.BrownianPath`."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from torchdyn_core import OptionError, ShapeError
from torchdyn_sde import brownian as native
from torchdyn_sde.compat.torchsde.settings import LEVY_AREA_APPROXIMATIONS

__all__ = ["BaseBrownian", "BrownianInterval", "Time"]

Time = float | Tensor
_LEVELS = 24
_ROUNDING = 1e-6
"""How far beyond its span, as a part of it, a motion is asked without a warning: times may have been float32."""


class BaseBrownian(ABC):
    """What `sdeint` takes as `bm`: increments, and areas, over intervals.

    Example:
        >>> from torchdyn_sde.compat.torchsde import BaseBrownian, BrownianInterval
        >>> isinstance(BrownianInterval(size=(2, 3)), BaseBrownian)
        True
    """

    __slots__ = ()

    @abstractmethod
    def __call__(self, ta: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False) -> Any:
        """The increment `W` over an interval, and, as a tuple, what else is asked for.

        Arguments:
            ta: Where the interval begins. With no `tb`, where it ends: it then begins where the motion does.
            tb: Where it ends, not earlier.
            return_U: Whether to return the integral of the motion over the interval, from its value at `ta`.
            return_A: Whether to return the Levy area.

        Shapes:
            W, U: `(*, m)`.  A: `(*, m, m)`.
        """

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Of increments."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where increments lie."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of increments."""

    @property
    @abstractmethod
    def levy_area_approximation(self) -> str:
        """What is known of intervals beside the increment."""

    def size(self) -> tuple[int, ...]:
        """Of increments."""
        return self.shape


class BrownianInterval(BaseBrownian):
    """A Brownian motion over a span of time, a function of `entropy` and of the interval that it is asked about.

    Steps that are known in advance are cheaper than others, and make another motion: those that `dt` tells; with
    neither `dt` nor `halfway_tree`, the steps of the first solve, if nobody asked before.

    Arguments:
        t0: Where it begins.
        t1: Where it ends.
        size: Of increments. Default: that of `W` or `H`.
        dtype: float32 or float64. Default: that of `W` or `H`, or torch's.
        device: Where increments lie. Default: that of `W` or `H`, or the CPU.
        entropy: The seed, a whole number. Default: drawn from torch's generator.
        dt: The step size that will be asked about.
        tol: The length below which the motion is smooth; 0 for the smallest there is, `2^-24` of the span.
        pool_size: No effect.
        cache_size: No effect.
        halfway_tree: Whether the motion is a function of `entropy` alone, whatever is asked first.
        levy_area_approximation: "none", "space-time" (`return_U`), or "davie", "foster" (`return_A` too).
        W: The increment over the whole span.
        H: The space-time Levy area over the whole span.

    Raises:
        OptionError: If an option makes no sense.
        ShapeError: If sizes, dtypes or devices of `W`, `H` and the options differ.

    References:
        | Foster, Lyons, Oberhauser (2020), An optimal polynomial approximation of Brownian motion. arXiv 1904.06998
        | Davie (2014), KMT theory applied to approximations of SDE.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde import BrownianInterval
        >>> bm = BrownianInterval(0.0, 1.0, size=(4, 3), entropy=1, dtype=torch.float64)
        >>> torch.allclose(bm(0.0, 0.3) + bm(0.3, 1.0), bm(0.0, 1.0))
        True
    """

    def __init__(
        self,
        t0: Time | None = 0.0,
        t1: Time | None = 1.0,
        size: tuple[int, ...] | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
        entropy: int | None = None,
        dt: Time | None = None,
        tol: float | Tensor = 0.0,
        pool_size: int = 8,
        cache_size: int | None = 45,
        halfway_tree: bool = False,
        levy_area_approximation: str = "none",
        W: Tensor | None = None,
        H: Tensor | None = None,
    ) -> None:
        self._t0, self._t1 = _number("t0", t0), _number("t1", t1)
        if self._t0 > self._t1:
            raise OptionError(f"t0={self._t0:g} and t1={self._t1:g}; wanted t0 <= t1")
        self._dt = None if dt is None else _number("dt", dt)
        if halfway_tree and dt is not None:
            raise OptionError("halfway_tree=True with dt; wanted one of them: such a tree depends on no step size")
        self._tol = _number("tol", tol)
        if self._tol < 0 or (halfway_tree and self._tol == 0):
            raise OptionError(f"tol={self._tol:g}; wanted a number {'> 0' if halfway_tree else '>= 0'}")
        self._size, self._dtype, self._device = _facts(W, H, size, dtype, device)
        self._entropy = int(torch.randint(2**31 - 1, ())) if entropy is None else entropy
        self._area = LEVY_AREA_APPROXIMATIONS.checked("levy_area_approximation", levy_area_approximation)
        self._pool_size, self._cache_size, self._halfway_tree = pool_size, cache_size, halfway_tree
        self._pins = W, H
        self._path: native.BrownianPath | None = None
        self._skew: native.BrownianPath | None = None

    def __call__(self, ta: Time, tb: Time | None = None, return_U: bool = False, return_A: bool = False) -> Any:
        start, end = (self._t0, float(ta)) if tb is None else (float(ta), float(tb))
        start, end = self._inside("ta", start), self._inside("ta" if tb is None else "tb", end)
        if start > end:
            raise ShapeError(f"ta={start:g} and tb={end:g}; wanted ta <= tb")
        w, h = self._known(start, end)
        wanted: list[Tensor | None] = [w]
        if return_U:
            wanted.append(None if h is None else (end - start) * (0.5 * w + h))
        if return_A:
            wanted.append(None if self._area not in ("davie", "foster") else self._levy(start, end, w, h))
        return wanted[0] if len(wanted) == 1 else tuple(wanted)

    def path(self, dt: float | None = None) -> native.BrownianPath:
        """What the motion is made of.

        Arguments:
            dt: Steps that will be asked about. They count where nothing has been asked yet.
        """
        if self._path is None:
            free = self._dt is None and not self._halfway_tree
            grid = dt if free else self._dt
            area = "none" if self._area == "none" and self._pins[1] is None else "space-time"
            self._path = self._drawn(self._size, self._entropy, area, grid)
        return self._path

    @property
    def pinned(self) -> bool:
        """Whether its increment or its area over the whole span was given."""
        return any(pin is not None for pin in self._pins)

    def _drawn(self, size: Any, seed: int, area: Any, grid: float | None) -> native.BrownianPath:
        span = self._t1 - self._t0
        levels = _LEVELS
        if self._tol > 0 and span > 0:
            levels = min(_LEVELS, max(1, math.ceil(math.log2(span / self._tol))))
        return native.BrownianPath(
            self._t0, self._t1, size, seed=seed % 2**62, dtype=self._dtype, device=self._device, area=area,
            grid=grid, levels=levels,
        )  # fmt: skip

    def _known(self, start: float, end: float) -> tuple[Tensor, Tensor | None]:
        """The increment and the area, moved to what the motion does over the whole span."""
        w, h, _ = self.path().increment(*self._times(start, end))
        if self.pinned and self._t1 > self._t0:
            whole = self.path().increment(*self._times(self._t0, self._t1))
            span = self._t1 - self._t0
            a, b = (start - self._t0) / span, (end - self._t0) / span
            if self._pins[0] is not None:
                w = w + (b - a) * (self._pins[0] - whole.w)
            if self._pins[1] is not None:  # a parabola, of which an interval sees a slope and a parabola
                off = self._pins[1] - whole.h
                w = w + 6.0 * (b * (1.0 - b) - a * (1.0 - a)) * off
                h = h + (b - a) ** 2 * off
        return w, None if self._area == "none" else h

    def _levy(self, start: float, end: float, w: Tensor, h: Tensor | None) -> Tensor:
        """The Levy area given increment and space-time area: its mean, and noise of the right variance."""
        assert h is not None
        if w.dim() < 2:
            return torch.zeros_like(w)  # of one noise in each row
        crossed = h[..., :, None] * w[..., None, :]
        mean, length = crossed - crossed.transpose(-1, -2), end - start
        if length == 0.0:
            return mean
        if self._skew is None:
            self._skew = self._drawn((*self._size, self._size[-1]), self._entropy + 0x9E3779B9, "none", None)
        noise = self._skew(*self._times(start, end)) / math.sqrt(2.0 * length)
        variance = h.new_tensor(length**2 / 12.0)
        if self._area == "foster":
            squares = h.square()
            variance = length**2 / 20.0 + 0.2 * length * (squares[..., :, None] + squares[..., None, :])
        made: Tensor = mean + variance.sqrt() * (noise - noise.transpose(-1, -2))
        return made

    def _times(self, start: float, end: float) -> tuple[Tensor, Tensor]:
        first, last = (torch.tensor(t, dtype=torch.float64, device=self._device) for t in (start, end))
        return first, last

    def _inside(self, name: str, t: float) -> float:
        if not self._t0 <= t <= self._t1:
            beyond = max(self._t0 - t, t - self._t1)
            if not beyond <= _ROUNDING * max(self._t1 - self._t0, abs(self._t0), abs(self._t1)):
                warnings.warn(
                    f"{name}={t:g} is outside of [t0, t1] = [{self._t0:g}, {self._t1:g}], and is taken to be its end",
                    stacklevel=3,
                )
            return min(max(t, self._t0), self._t1)
        return t

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(t0={self._t0:.3f}, t1={self._t1:.3f}, size={self._size}, dtype={self._dtype}, "
            f"device={self._device!r}, entropy={self._entropy}, dt={self._dt}, tol={self._tol}, "
            f"levy_area_approximation={self._area!r})"
        )

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def shape(self) -> tuple[int, ...]:
        return self._size

    @property
    def levy_area_approximation(self) -> str:
        return self._area

    @property
    def entropy(self) -> int:
        """The seed."""
        return self._entropy

    @property
    def dt(self) -> float | None:
        """The step size that it was made for."""
        return self._dt

    @property
    def tol(self) -> float:
        """The length below which it is smooth."""
        return self._tol

    @property
    def pool_size(self) -> int:
        """As it was given."""
        return self._pool_size

    @property
    def cache_size(self) -> int | None:
        """As it was given."""
        return self._cache_size

    @property
    def halfway_tree(self) -> bool:
        """Whether it is a function of the seed alone."""
        return self._halfway_tree


def _number(name: str, value: Any) -> float:
    if isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1):
        return float(value)
    raise OptionError(f"{name}={value!r}; wanted a number, or a tensor of one")


def _facts(
    w: Tensor | None, h: Tensor | None, size: Any, dtype: Any, device: Any
) -> tuple[tuple[int, ...], torch.dtype, torch.device]:
    """Size, dtype and device, which the increment or the area may tell."""
    given = [(name, pin) for name, pin in (("W", w), ("H", h)) if pin is not None]
    for name, pin in given:
        if not isinstance(pin, Tensor) or not pin.is_floating_point():
            raise OptionError(f"{name} is {pin!r}; wanted a tensor of floating-point numbers")
    sizes = ([] if size is None else [tuple(size)]) + [tuple(pin.shape) for _, pin in given]
    dtypes = ([] if dtype is None else [dtype]) + [pin.dtype for _, pin in given]
    devices = ([] if device is None else [torch.device(device)]) + [pin.device for _, pin in given]
    if not sizes:
        raise OptionError("neither size nor W nor H is given; wanted one of them, to know how large increments are")
    for name, found in (("sizes", sizes), ("dtypes", dtypes), ("devices", devices)):
        if any(other != found[0] for other in found):
            raise ShapeError(f"size, dtype, device, W and H have {name} {found}; wanted the same")
    return (
        sizes[0],
        dtypes[0] if dtypes else torch.get_default_dtype(),
        devices[0] if devices else torch.device("cpu"),
    )
