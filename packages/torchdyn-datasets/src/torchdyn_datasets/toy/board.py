"""A density with sharp edges: the black fields of a checkerboard."""

from __future__ import annotations

import torch

from torchdyn_datasets.checks import checked_count, checked_dtype, generator, uniform
from torchdyn_datasets.records import Points

__all__ = ["checkerboard"]


def checkerboard(n: int = 200, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Points:
    """Points that are uniform on eight of the sixteen fields of a board on `[-4, 4]` squared.

    Their entropy is the logarithm of that area: `ln 32`.

    Arguments:
        n: Number of points.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`, the column of a point, 0 to 3 from the left.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), FFJORD. arXiv 1810.01367

    Example:
        >>> from torchdyn_datasets import checkerboard
        >>> column, row = ((checkerboard(100).points + 4) / 2).floor().unbind(1)
        >>> bool(((column + row) % 2 == 0).all())
        True
    """
    n, dtype, source = checked_count("n", n), checked_dtype(dtype), generator(seed)
    labels = torch.arange(n) % 4
    inside = uniform((n, 2), 0.0, 1.0, source)
    upper = torch.randint(2, (n,), generator=source)
    field = torch.stack((labels, labels % 2 + 2 * upper), 1)  # columns and rows from the lower left corner
    points = (2 * (field + inside) - 4).to(dtype)
    # a point within rounding of a field's upper edge would lie on it, which is the next field
    points = torch.minimum(points, torch.nextafter((2 * field - 2).to(dtype), torch.tensor(-8.0, dtype=dtype)))
    return Points("checkerboard", "all", points, labels)
