"""A map that no flow of the same dimension makes."""

from __future__ import annotations

import torch

from torchdyn_datasets.checks import checked_count, checked_number, generator, normal
from torchdyn_datasets.records import Points

__all__ = ["crossing_trajectories"]


def crossing_trajectories(
    n: int = 500, *, noise: float = 0.0, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Points:
    """The flip of the line: -1 is to be mapped to 1, and 1 to -1.

    Trajectories of an ordinary differential equation in one dimension cannot pass each other, so the best that one does
    is to map all to 0. With a dimension added, they can.

    Arguments:
        n: Number of points; they take turns between -1 and 1.
        noise: Standard deviation of what is added to a point; its target is that of the point without it.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points, targets: `(n, 1)`.  labels: `(n,)`; 0 starts at -1.

    References:
        Dupont, Doucet, Teh (2019), Augmented neural ODEs, section 3.1. arXiv 1904.01681

    Example:
        >>> from torchdyn_datasets import crossing_trajectories
        >>> data = crossing_trajectories(2)
        >>> data.points.tolist(), data.targets.tolist()
        ([[-1.0], [1.0]], [[1.0], [-1.0]])
    """
    source, labels = generator(seed), torch.arange(checked_count("n", n)) % 2
    starts = (2 * labels - 1)[:, None].double()
    points = starts + checked_number("noise", noise) * normal((n, 1), source)
    return Points("crossing_trajectories", "all", points.to(dtype), labels, targets=(-starts).to(dtype))
