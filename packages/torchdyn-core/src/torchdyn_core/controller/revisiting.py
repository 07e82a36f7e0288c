"""Ends of rejected steps, which later steps have to end at.

Noise that was looked at and found too large is part of the path: a control that steps over it takes small steps where
the path went one way and large ones where it went the other, which biases what noises that do not commute do together.
So the end of each rejected step is kept until a step ends there. Its half is tried next: where a method has looked at
its middle, that is then used, too.

They are kept as `DEPTH` scalars, times multiplied by the direction of the solve: the nearest one first, infinity where
there is none.
"""

from __future__ import annotations

import math

from torchdyn_core.layout import Layout
from torchdyn_core.scalars import Flag, Scalar, minimum, negate, where

__all__ = ["DEPTH", "kept", "nearest", "nothing_ahead"]

DEPTH = 24
"""How many may be kept at once: a rejected step is halved, so each is half as far as the next, or nearer."""

_CLOSE = 1e-9
"""A target this close to the end of a rejected step, as a part of what is left, is that end."""

_LARGEST = 1.7976931348623157e308
"""What stands for infinity where it is multiplied by a direction, which is 0 in a span of no length."""


def nothing_ahead(layout: Layout) -> tuple[Scalar, ...]:
    """No ends of rejected steps."""
    return tuple(layout.constant(math.inf) for _ in range(DEPTH))


def nearest(ahead: tuple[Scalar, ...], t: Scalar, dt: Scalar, direction: Scalar) -> Scalar:
    """Where a step of size `dt` ends: at the nearest end of a rejected step, if it reaches it."""
    left = (ahead[0] - direction * t) * (1.0 - _CLOSE)
    return where(left <= dt, direction * minimum(ahead[0], _LARGEST), t + direction * dt)


def kept(ahead: tuple[Scalar, ...], t0: Scalar, t1: Scalar, accept: Flag) -> tuple[tuple[Scalar, ...], Flag, Flag]:
    """What lies ahead after a step, whether the step ended there, and whether its own end found no place."""
    end = where(t1 >= t0, 1.0, -1.0) * t1
    there = end >= ahead[0]
    push, pop = negate(accept) & negate(there), accept & there
    full = push & (ahead[-1] < math.inf)
    deeper, shallower = (end, *ahead[:-1]), (*ahead[1:], math.inf)
    after = tuple(where(push, a, where(pop, b, c)) for a, b, c in zip(deeper, shallower, ahead, strict=True))
    return after, there, full
