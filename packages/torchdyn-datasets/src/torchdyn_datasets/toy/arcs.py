"""Classes that lie along curves of the plane: moons, circles, rings, spirals."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_datasets.checks import checked_count, checked_number, generator, normal, uniform
from torchdyn_datasets.records import Points

__all__ = ["circles", "moons", "rings", "spirals", "two_spirals"]


def moons(n: int = 200, *, noise: float = 0.1, seed: int = 0, dtype: torch.dtype = torch.float32) -> Points:
    """Two half circles, each reaching into the other.

    Classes take turns from point to point, so that any stretch of the data has as many of each.

    Arguments:
        n: Number of points.
        noise: Standard deviation of what is added to each coordinate, where the half circles have radius 1; the whole
            is then drawn out to twice its size.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`; 0 is the upper moon.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), FFJORD. arXiv 1810.01367

    Example:
        >>> from torchdyn_datasets import moons
        >>> moons(4).labels
        tensor([0, 1, 0, 1])
    """
    source, labels = generator(seed), _turns(n, 2)
    noise = checked_number("noise", noise)
    angle = uniform((n,), 0.0, math.pi, source)
    upper = torch.stack((angle.cos(), angle.sin()), 1)
    lower = torch.stack((1 - angle.cos(), 0.5 - angle.sin()), 1)
    points = torch.where(labels[:, None] == 0, upper, lower) + noise * normal((n, 2), source)
    points = 2 * points + torch.tensor([-1.0, -0.2], dtype=torch.float64)
    return Points("moons", "all", points.to(dtype), labels)


def circles(
    n: int = 200, *, factor: float = 0.5, noise: float = 0.08, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Points:
    """A circle of radius 3 and a smaller one within.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        factor: Radius of the inner circle, in that of the outer one.
        noise: Standard deviation of what is added to each coordinate, in the radius of the outer circle.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`; 0 is the outer circle.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), FFJORD. arXiv 1810.01367

    Example:
        >>> from torchdyn_datasets import circles
        >>> circles(2, noise=0.0).points.norm(dim=1)
        tensor([3.0000, 1.5000])
    """
    radii = [1.0, checked_number("factor", factor)]
    return _around("circles", n, radii, noise, seed, dtype)


def rings(n: int = 200, *, noise: float = 0.08, seed: int = 0, dtype: torch.dtype = torch.float32) -> Points:
    """Four rings with radii 3, 2.25, 1.5 and 0.75.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        noise: Standard deviation of what is added to each coordinate.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`; 0 is the outermost ring.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), FFJORD. arXiv 1810.01367

    Example:
        >>> from torchdyn_datasets import rings
        >>> rings(4, noise=0.0).points.norm(dim=1)
        tensor([3.0000, 2.2500, 1.5000, 0.7500])
    """
    # the noise of circles is drawn out with them, that of rings is added behind
    return _around("rings", n, [1.0, 0.75, 0.5, 0.25], checked_number("noise", noise) / 3, seed, dtype)


def spirals(
    n: int = 200, *, turns: float = 780 / 360, noise: float = 1e-4, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Points:
    """Two spirals that go round each other: the radius of a point is its angle.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        turns: How often a spiral goes round.
        noise: Each coordinate is shifted by a number between 0 and this.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`.

    References:
        Poli, Massaroli, Yamashita, Asama, Park (2021), TorchDyn: implicit models and neural numerical methods.
        arXiv 2009.09346

    Example:
        >>> from torchdyn_datasets import spirals
        >>> float(spirals(1000).points.norm(dim=1).max()) < 2 * 3.1416 * 780 / 360
        True
    """
    source, labels = generator(seed), _turns(n, 2)
    points = _spiral(n, checked_number("turns", turns, positive=True), checked_number("noise", noise), source)
    return Points("spirals", "all", (_sign(labels) * points).to(dtype), labels)


def two_spirals(n: int = 200, *, noise: float = 0.1, seed: int = 0, dtype: torch.dtype = torch.float32) -> Points:
    """Two broad spirals of a turn and a half, as densities are fitted to.

    Classes take turns from point to point.

    Arguments:
        n: Number of points.
        noise: Standard deviation of what is added to each coordinate.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of the points.

    Shapes:
        points: `(n, 2)`.  labels: `(n,)`.

    References:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud (2019), FFJORD. arXiv 1810.01367

    Example:
        >>> from torchdyn_datasets import two_spirals
        >>> two_spirals(10).points.shape
        torch.Size([10, 2])
    """
    source, labels = generator(seed), _turns(n, 2)
    noise = checked_number("noise", noise)
    points = _sign(labels) * _spiral(n, 1.5, 0.5, source) / 3 + noise * normal((n, 2), source)
    return Points("two_spirals", "all", points.to(dtype), labels)


def _turns(n: int, classes: int) -> Tensor:
    """Labels 0, 1, ..., 0, 1, ..."""
    return torch.arange(checked_count("n", n)) % classes


def _sign(labels: Tensor) -> Tensor:
    """The second spiral is the first, turned by half a turn."""
    return (1 - 2 * labels)[:, None]


def _spiral(n: int, turns: float, shift: float, source: torch.Generator) -> Tensor:
    # the root makes the points equally dense along the spiral, where they are far out
    angle = uniform((n,), 0.0, 1.0, source).sqrt() * turns * 2 * math.pi
    curve = torch.stack((-angle.cos() * angle, angle.sin() * angle), 1)
    return curve + uniform((n, 2), 0.0, shift, source)


def _around(name: str, n: int, radii: list[float], noise: float, seed: int, dtype: torch.dtype) -> Points:
    source, labels = generator(seed), _turns(n, len(radii))
    noise = checked_number("noise", noise)
    angle = uniform((n,), 0.0, 2 * math.pi, source)
    circle = torch.stack((angle.cos(), angle.sin()), 1)
    points = torch.tensor(radii, dtype=torch.float64)[labels, None] * circle + noise * normal((n, 2), source)
    return Points(name, "all", (3 * points).to(dtype), labels)
