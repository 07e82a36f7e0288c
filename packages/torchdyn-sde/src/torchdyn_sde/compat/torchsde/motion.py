"""Motions of torchsde's kind as paths that drive a field."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdyn_core import IncompatibleError, ShapeError
from torchdyn_sde.brownian import AREAS, BrownianIncrement, BrownianPath, Plan
from torchdyn_sde.compat.torchsde.brownian import BrownianInterval
from torchdyn_sde.noise_shape import NoiseShape

__all__ = ["MotionPath", "driving_path"]


class MotionPath(BrownianPath):
    """Whatever answers as torchsde's motions do, as a path: it is asked for each step.

    Arguments:
        bm: The motion, with `shape`, `dtype`, `device` and `levy_area_approximation`.
        t0: Where a solve begins.
        t1: Where it ends.
        still: How many components without noise follow those of the motion.

    Example:
        >>> import torch
        >>> from torchdyn_sde.compat.torchsde import BrownianInterval, ReverseBrownian
        >>> from torchdyn_sde.compat.torchsde.motion import MotionPath
        >>> bm = BrownianInterval(0.0, 1.0, size=(2, 3), entropy=0)
        >>> path = MotionPath(ReverseBrownian(bm), -1.0, 0.0)
        >>> torch.equal(path(torch.tensor(-1.0), torch.tensor(-0.5)), bm(0.5, 1.0))
        True
    """

    def __init__(self, bm: Any, t0: float, t1: float, still: int = 0) -> None:
        area: Any = "none" if bm.levy_area_approximation == "none" else "space-time"
        shape = (*bm.shape[:-1], bm.shape[-1] + still)
        super().__init__(t0, t1, shape, seed=0, dtype=bm.dtype, device=bm.device, area=area)
        self.bm, self.still = bm, still

    def begun(self, t0: Tensor, t1: Tensor, plan: Plan, smooth: bool) -> BrownianPath:
        if AREAS.index(plan.area) > AREAS.index(self.area):
            raise IncompatibleError(
                f"the method asks for {plan.area} areas, and the motion has "
                f"levy_area_approximation={self.bm.levy_area_approximation!r}; wanted one that has them"
            )
        return self

    def increment(self, ta: Tensor, tb: Tensor, shape: NoiseShape | None = None) -> BrownianIncrement:
        assert self.shape is not None
        if shape is not None and shape != self.shape:
            raise ShapeError(
                f"the noise has shape {tuple(shape.sizes[0])}, and the motion {tuple(self.shape.sizes[0])}"
            )
        forth = bool(ta <= tb)
        first, last = (ta, tb) if forth else (tb, ta)
        if self.area == "none":
            w, h = self.bm(first, last), None
        else:
            w, u = self.bm(first, last, return_U=True)
            length = (last - first).to(w.dtype)
            h = u / torch.where(length == 0, 1.0, length) - 0.5 * w
        w = w if forth else -w
        return BrownianIncrement(self._widened(w), None if h is None else self._widened(h))

    def _widened(self, part: Tensor) -> Tensor:
        return torch.nn.functional.pad(part, (0, self.still)) if self.still else part


def driving_path(bm: Any, t0: float, t1: float, dt: float | None, still: int = 0) -> BrownianPath:
    """The path that a motion is, or one that asks it.

    Arguments:
        bm: The motion.
        t0: Where a solve begins.
        t1: Where it ends.
        dt: Its steps, where they are known in advance.
        still: How many components without noise follow those of the motion.

    Example:
        >>> from torchdyn_sde.compat.torchsde import BrownianInterval
        >>> from torchdyn_sde.compat.torchsde.motion import driving_path
        >>> type(driving_path(BrownianInterval(size=(2, 3)), 0.0, 1.0, 0.1)).__name__
        'BrownianPath'
    """
    interval = getattr(bm, "interval", bm)
    if isinstance(interval, BrownianInterval):
        path = interval.path(dt)
        if not still and not interval.pinned:
            return path
    return MotionPath(bm, t0, t1, still)
