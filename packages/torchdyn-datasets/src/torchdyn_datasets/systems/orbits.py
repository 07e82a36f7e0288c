"""Bodies in a plane that attract each other."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_core import VectorField
from torchdyn_core.tree import Tree
from torchdyn_datasets.checks import checked_count, checked_number, checked_range, generator, normal, uniform
from torchdyn_datasets.records import Trajectories
from torchdyn_datasets.systems.simulate import simulated, time_grid

__all__ = ["Bodies", "three_body", "two_body"]


class Bodies(VectorField):
    """Bodies of mass 1 that attract each other by Newton's law, with the constant of gravity 1.

    Arguments:
        count: Number of bodies.

    Shapes:
        y: `(*, 4 * count)`: all first coordinates, all second ones, then all first and all second momenta.

    References:
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Bodies
        >>> at_rest = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        >>> Bodies(2)(torch.tensor(0.0), at_rest)[4:6]
        tensor([-0.2500,  0.2500])
    """

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.count = checked_count("count", count, 2)

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        positions, momenta = y.unflatten(-1, (2, 2, self.count)).unbind(-3)
        apart = positions[..., None, :] - positions[..., :, None]  # (*, 2, body, other)
        squared = apart.square().sum(-3) + self._itself(y)
        force = (apart / squared.pow(1.5)[..., None, :, :]).sum(-1)
        return torch.stack((momenta, force), -3).flatten(-3)

    def energy(self, y: Tensor) -> Tensor:
        """What stays the same along a trajectory, `(*)`."""
        positions, momenta = y.unflatten(-1, (2, 2, self.count)).unbind(-3)
        apart = (positions[..., None, :] - positions[..., :, None]).square().sum(-3) + self._itself(y)
        pairs: Tensor = apart.rsqrt().triu(1).sum((-2, -1))
        motion: Tensor = 0.5 * momenta.square().sum((-2, -1))
        return motion - pairs

    def _itself(self, y: Tensor) -> Tensor:
        """A body is at no distance from itself, which then pulls it nowhere, and divides by nothing."""
        return torch.eye(self.count, dtype=y.dtype, device=y.device)


def two_body(
    n: int = 1000,
    *,
    steps: int = 50,
    t1: float = 20.0,
    reach: tuple[float, float] = (0.5, 1.5),
    eccentricity: float = 0.05,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Two bodies that go round each other in nearly circular orbits.

    Arguments:
        n: Number of trajectories.
        steps: Number of times.
        t1: The last time.
        reach: Smallest and largest of each coordinate of the first body at the start; the second is opposite.
        eccentricity: Standard deviation of the factor that a speed differs by from that of a circular orbit.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 8)`, in the order of `Bodies`.

    References:
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> from torchdyn_datasets import two_body
        >>> two_body(3).channels
        ('x1', 'x2', 'y1', 'y2', 'px1', 'px2', 'py1', 'py2')
    """
    n, source = checked_count("n", n), generator(seed)
    position = uniform((n, 2), *checked_range("reach", reach), source)
    speed = 1 + checked_number("eccentricity", eccentricity) * normal((n, 1), source)
    momentum = speed * _turned(position, math.pi / 2) / (2 * position.norm(dim=1, keepdim=True).pow(1.5))
    y0 = torch.stack((position, -position, momentum, -momentum), 2).unflatten(2, (2, 2)).transpose(1, 2).flatten(1)
    return _orbits("two_body", 2, y0, steps, t1, noise, source, dtype)


def three_body(
    n: int = 5000,
    *,
    steps: int = 20,
    t1: float = 5.0,
    radius: tuple[float, float] = (0.9, 1.2),
    spread: float = 0.2,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Three bodies at the corners of a triangle with equal sides, at nearly the speed that would keep them in a circle.

    Arguments:
        n: Number of trajectories.
        steps: Number of times.
        t1: The last time.
        radius: Smallest and largest distance of the bodies from the centre at the start.
        spread: Each component of a momentum is scaled by a factor that differs from 1 by at most this.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 12)`, in the order of `Bodies`.

    References:
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> from torchdyn_datasets import three_body
        >>> three_body(2, steps=5, t1=1.0).values.shape
        torch.Size([2, 5, 12])
    """
    n, source = checked_count("n", n), generator(seed)
    spread = checked_number("spread", spread)
    reach = uniform((n, 1), *checked_range("radius", radius, 0.0), source)
    first = uniform((n, 2), -1.0, 1.0, source)
    first = reach * first / first.norm(dim=1, keepdim=True)
    circular = math.sqrt(math.sin(math.pi / 3) / (2 * math.cos(math.pi / 6) ** 2))
    start = circular * _turned(first, math.pi / 2) / reach.pow(1.5)
    turns = [index * 2 * math.pi / 3 for index in range(3)]
    positions = torch.stack([_turned(first, angle) for angle in turns], 2)
    momenta = torch.stack([_turned(start, angle) for angle in turns], 2)
    momenta = momenta * (1 + uniform((n, 2, 3), -spread, spread, source))
    y0 = torch.stack((positions, momenta), 1).flatten(1)
    return _orbits("three_body", 3, y0, steps, t1, noise, source, dtype)


def _turned(points: Tensor, angle: float) -> Tensor:
    x, y = points.unbind(1)
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack((c * x - s * y, s * x + c * y), 1)


def _orbits(
    name: str, count: int, y0: Tensor, steps: int, t1: float, noise: float, source: torch.Generator, dtype: torch.dtype
) -> Trajectories:
    channels = tuple(f"{axis}{body + 1}" for axis in ("x", "y", "px", "py") for body in range(count))
    planes = tuple((body, count + body) for body in range(count))
    # trajectories that nearly collide need steps that the others do not
    return simulated(
        name, Bodies(count), y0, time_grid(steps, t1), channels=channels, planes=planes, noise=noise, source=source,
        dtype=dtype, per_sample=True,
    )  # fmt: skip
