"""Classes that are Gaussians, round or bent."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_datasets.checks import checked_count, checked_number, checked_numbers, generator, normal
from torchdyn_datasets.records import Points

__all__ = ["eight_gaussians", "gaussians", "gaussians_spiral", "pinwheel"]


def gaussians(
    n: int = 700,
    *,
    classes: int = 7,
    dims: int = 2,
    radius: float = 0.5,
    std: float = 0.1,
    noise: float = 1e-3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Points:
    """Gaussians whose centres lie on a circle, at equal distances.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        classes: Number of Gaussians.
        dims: Number of dimensions; the circle is in the plane of the first two.
        radius: Of the circle.
        std: Standard deviation of each Gaussian.
        noise: Standard deviation of a shift of each centre.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, dims)`.  labels: `(n,)`.

    References:
        Poli, Massaroli, Yamashita, Asama, Park (2021), TorchDyn: implicit models and neural numerical methods.
        arXiv 2009.09346

    Example:
        >>> from torchdyn_datasets import gaussians
        >>> gaussians(14).labels.bincount()
        tensor([2, 2, 2, 2, 2, 2, 2])
    """
    classes = checked_count("classes", classes)
    radii = torch.full((classes,), checked_number("radius", radius), dtype=torch.float64)
    stds = torch.full((classes,), checked_number("std", std), dtype=torch.float64)
    points, labels = _clusters(n, dims, radii, stds, classes, noise, seed)
    return Points("gaussians", "all", points.to(dtype), labels)


def gaussians_spiral(
    n: int = 700,
    *,
    classes: int = 7,
    per_turn: int = 4,
    dims: int = 2,
    radius: tuple[float, float] = (1.0, 0.2),
    std: tuple[float, float] = (0.3, 0.1),
    noise: float = 1e-3,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Points:
    """Gaussians whose centres lie on a spiral; they get narrower on the way in.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        classes: Number of Gaussians.
        per_turn: Number of Gaussians in a turn of the spiral.
        dims: Number of dimensions; the spiral is in the plane of the first two.
        radius: Distance of the first and of the last centre from the origin.
        std: Standard deviation of the first and of the last Gaussian.
        noise: Standard deviation of a shift of each centre.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, dims)`.  labels: `(n,)`; 0 is the outermost.

    References:
        Poli, Massaroli, Yamashita, Asama, Park (2021), TorchDyn: implicit models and neural numerical methods.
        arXiv 2009.09346

    Example:
        >>> from torchdyn_datasets import gaussians_spiral
        >>> gaussians_spiral(14, dims=3).points.shape
        torch.Size([14, 3])
    """
    classes = checked_count("classes", classes)
    (outer, inner), (widest, narrowest) = checked_numbers("radius", radius, 2, 0.0), checked_numbers("std", std, 2, 0.0)
    radii = torch.linspace(outer, inner, classes, dtype=torch.float64)
    stds = torch.linspace(widest, narrowest, classes, dtype=torch.float64)
    points, labels = _clusters(n, dims, radii, stds, checked_count("per_turn", per_turn), noise, seed)
    return Points("gaussians_spiral", "all", points.to(dtype), labels)


def eight_gaussians(n: int = 200, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Points:
    """Eight round Gaussians on a circle, far apart.

    Classes take turns from point to point. The circle has radius 4 / 1.414, a Gaussian standard deviation 0.5 / 1.414.

    Arguments:
        n: Number of points.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`, counted against the clock from the right.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), FFJORD. arXiv 1810.01367

    Example:
        >>> from torchdyn_datasets import eight_gaussians
        >>> eight_gaussians(16).labels.bincount()
        tensor([2, 2, 2, 2, 2, 2, 2, 2])
    """
    scale, source = 1.414, generator(seed)  # the paper's code rounds the root of two
    labels = torch.arange(checked_count("n", n)) % 8
    points = (4.0 * _circle(labels * (math.pi / 4)) + 0.5 * normal((n, 2), source)) / scale
    return Points("eight_gaussians", "all", points.to(dtype), labels)


def pinwheel(
    n: int = 200,
    *,
    classes: int = 5,
    radial: float = 0.3,
    tangential: float = 0.1,
    rate: float = 0.25,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Points:
    """Long Gaussians that point outwards, bent the more the farther out they reach: the wings of a pinwheel.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        classes: Number of wings.
        radial: Standard deviation along a wing.
        tangential: Standard deviation across a wing.
        rate: How much they are bent: a point is turned by this, in radians, times the exponential of its radius.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), FFJORD. arXiv 1810.01367

    Example:
        >>> from torchdyn_datasets import pinwheel
        >>> pinwheel(10).points.shape
        torch.Size([10, 2])
    """
    source, classes = generator(seed), checked_count("classes", classes)
    labels = torch.arange(checked_count("n", n)) % classes
    stds = [checked_number("radial", radial), checked_number("tangential", tangential)]
    along, across = (normal((n, 2), source) * torch.tensor(stds, dtype=torch.float64)).unbind(1)
    along = along + 1.0
    # turned clockwise by its angle, as the rows of the paper's code are
    angle = labels * (2 * math.pi / classes) + checked_number("rate", rate) * along.exp()
    cos, sin = angle.cos(), angle.sin()
    points = 2 * torch.stack((along * cos + across * sin, across * cos - along * sin), 1)
    return Points("pinwheel", "all", points.to(dtype), labels)


def _circle(angle: Tensor) -> Tensor:
    angle = angle.double()
    return torch.stack((angle.cos(), angle.sin()), 1)


def _clusters(
    n: int, dims: int, radii: Tensor, stds: Tensor, per_turn: int, noise: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Gaussians at equal angles, the first of them one such angle on from the first axis."""
    source, dims = generator(seed), checked_count("dims", dims, 2)
    labels = torch.arange(checked_count("n", n)) % len(radii)
    angles = (torch.arange(len(radii)) + 1) * (2 * math.pi / per_turn)
    centres = torch.zeros(len(radii), dims, dtype=torch.float64)
    centres[:, :2] = radii[:, None] * _circle(angles)
    centres += checked_number("noise", noise) * normal((len(radii), dims), source)
    return centres[labels] + stds[labels, None] * normal((n, dims), source), labels
