"""Classes around one centre, in any number of dimensions: a ball and a shell, two spheres."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_datasets.checks import (
    checked_between,
    checked_count,
    checked_number,
    checked_range,
    generator,
    normal,
    uniform,
)
from torchdyn_datasets.records import Points

__all__ = ["annuli", "spheres"]


def annuli(
    n: int = 3000,
    *,
    dims: int = 2,
    inner: tuple[float, float] = (0.0, 0.5),
    outer: tuple[float, float] = (1.0, 1.5),
    share: float = 1 / 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Points:
    """A disc within an annulus (in more dimensions: a ball within a shell), each uniform in area (volume).

    No homeomorphism of the plane, such as the flow of an ordinary differential equation, separates them by a line.

    Arguments:
        n: Number of points.
        dims: Number of dimensions.
        inner: Smallest and largest radius of the inner class.
        outer: Smallest and largest radius of the outer class.
        share: Of the points, how many are in the inner class. A point's class is drawn by chance, but their number is
            exact.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, dims)`.  labels: `(n,)`; 0 is the inner class.

    References:
        Dupont, Doucet, Teh (2019), Augmented neural ODEs, section 5. arXiv 1904.01681

    Example:
        >>> from torchdyn_datasets import annuli
        >>> data = annuli(300)
        >>> data.labels.bincount().tolist()
        [100, 200]
        >>> float(data.points[data.labels == 1].norm(dim=1).min()) >= 1.0
        True
    """
    n, dims, source = checked_count("n", n), checked_count("dims", dims), generator(seed)
    share = checked_between("share", share)
    bounds = torch.tensor([checked_range("inner", inner, 0.0), checked_range("outer", outer, 0.0)], dtype=torch.float64)
    labels = (torch.randperm(n, generator=source) >= round(n * share)).long()
    low, high = bounds[labels].unbind(1)
    # in the largest radius: a power of a radius itself may be nothing, or too much, where there are many dimensions
    within = (low / high.clamp(min=torch.finfo(high.dtype).tiny)).pow(dims)
    radius = high * (within + (1 - within) * uniform((n,), 0.0, 1.0, source)).pow(1 / dims)
    radius = radius.maximum(low)
    return Points("annuli", "all", (radius[:, None] * _directions(n, dims, source)).to(dtype), labels)


def spheres(
    n: int = 200,
    *,
    dims: int = 3,
    inner: float = 0.5,
    outer: float = 1.0,
    noise: float = 1e-4,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Points:
    """Two concentric spheres.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        dims: Number of dimensions of the space that the spheres are in.
        inner: Radius of the inner sphere.
        outer: Radius of the outer sphere.
        noise: Standard deviation of what is added to each coordinate.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, dims)`.  labels: `(n,)`; 0 is the inner sphere.

    References:
        Poli, Massaroli, Yamashita, Asama, Park (2021), TorchDyn: implicit models and neural numerical methods.
        arXiv 2009.09346

    Example:
        >>> from torchdyn_datasets import spheres
        >>> spheres(2, noise=0.0).points.norm(dim=1)
        tensor([0.5000, 1.0000])
    """
    n, dims, source = checked_count("n", n), checked_count("dims", dims), generator(seed)
    radii = torch.tensor([checked_number("inner", inner), checked_number("outer", outer)], dtype=torch.float64)
    labels = torch.arange(n) % 2
    noise = checked_number("noise", noise)
    points = radii[labels, None] * _directions(n, dims, source) + noise * normal((n, dims), source)
    return Points("spheres", "all", points.to(dtype), labels)


def _directions(n: int, dims: int, source: torch.Generator) -> Tensor:
    """Points on the unit sphere, all directions alike."""
    points = normal((n, dims), source)
    length: Tensor = points.norm(dim=1, keepdim=True)
    return points / length
