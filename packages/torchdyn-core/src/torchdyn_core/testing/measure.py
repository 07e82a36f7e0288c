"""Orders, read off errors at several step sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

__all__ = ["finest", "slope"]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Slope of a line through the logarithms of points, by least squares.

    Example:
        >>> round(slope([(0.1, 3e-2), (0.2, 12e-2), (0.4, 48e-2)]), 6)
        2.0
    """
    x, y = zip(*((math.log(a), math.log(b)) for a, b in points), strict=True)
    mx, my = sum(x) / len(x), sum(y) / len(y)
    rise: float = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    run: float = sum((a - mx) * (a - mx) for a in x)
    return rise / run


def finest(
    error: Callable[[float], float], sizes: Sequence[float], *, floor: float, count: int
) -> list[tuple[float, float]]:
    """Errors at the `count` finest sizes at which they are above rounding; those that are not finite do not count.

    Arguments:
        error: The error at a size.
        sizes: Sizes, coarse to fine; those behind the first error below the floor are left alone.
        floor: Errors below it are rounding.
        count: How many points to give back.
    """
    points: list[tuple[float, float]] = []
    for size in sizes:
        value = error(size)
        if not value > floor:
            break
        if math.isfinite(value):
            points.append((size, value))
    assert len(points) >= count, f"errors fall below {floor:g} before an order can be read: {points}"
    return points[-count:]
