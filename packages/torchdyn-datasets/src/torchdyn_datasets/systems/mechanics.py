"""Springs and pendulums: systems that keep their energy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_core import VectorField
from torchdyn_core.tree import Tree
from torchdyn_datasets.checks import checked_count, checked_number, checked_range, generator, uniform
from torchdyn_datasets.records import Trajectories
from torchdyn_datasets.systems.simulate import simulated, time_grid

__all__ = ["DoublePendulum", "Pendulum", "Spring", "double_pendulum", "pendulum", "spring"]


class Spring(VectorField):
    """A mass on a spring, with the energy `q^2 + p^2`.

    Shapes:
        y: `(*, 2)`, position and momentum.

    References:
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Spring
        >>> Spring()(torch.tensor(0.0), torch.tensor([1.0, 0.5])).tolist()
        [1.0, -2.0]
    """

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        q, p = y.unbind(-1)
        return torch.stack((2 * p, -2 * q), -1)

    def energy(self, y: Tensor) -> Tensor:
        """What stays the same along a trajectory, `(*)`."""
        return y.square().sum(-1)


class Pendulum(VectorField):
    """A pendulum without friction, with the energy `strength * (1 - cos q) + p^2`.

    Arguments:
        strength: Of gravity. That of the measured pendulum is near 2.4.

    Shapes:
        y: `(*, 2)`, angle and momentum.

    References:
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Pendulum
        >>> Pendulum()(torch.tensor(0.0), torch.tensor([0.0, 0.5])).tolist()
        [1.0, -0.0]
    """

    def __init__(self, strength: float = 3.0) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        q, p = y.unbind(-1)
        return torch.stack((2 * p, -self.strength * q.sin()), -1)

    def energy(self, y: Tensor) -> Tensor:
        """What stays the same along a trajectory, `(*)`."""
        q, p = y.unbind(-1)
        return self.strength * (1 - q.cos()) + p.square()


class DoublePendulum(VectorField):
    """A pendulum that hangs from a pendulum, without friction; both have mass 1 and length 1.

    Arguments:
        gravity: Acceleration of gravity.

    Shapes:
        y: `(*, 4)`, the two angles from the vertical, then their rates.

    References:
        Cranmer, Greydanus, Hoyer, Battaglia, Spergel, Ho (2020), Lagrangian neural networks. arXiv 2003.04630

    Example:
        >>> import torch
        >>> from torchdyn_datasets import DoublePendulum
        >>> at_rest = torch.zeros(4)
        >>> float(DoublePendulum()(torch.tensor(0.0), at_rest).abs().max()), float(DoublePendulum().energy(at_rest))
        (0.0, 0.0)
    """

    def __init__(self, gravity: float = 9.8) -> None:
        super().__init__()
        self.gravity = gravity

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        q1, q2, v1, v2 = y.unbind(-1)
        # M a = b, with the masses M = [[2, c], [c, 1]] and the forces b that Lagrange's equations leave
        c, s = (q1 - q2).cos(), (q1 - q2).sin()
        b1 = -s * v2.square() - 2 * self.gravity * q1.sin()
        b2 = s * v1.square() - self.gravity * q2.sin()
        determinant = 2 - c.square()
        return torch.stack((v1, v2, (b1 - c * b2) / determinant, (2 * b2 - c * b1) / determinant), -1)

    def energy(self, y: Tensor) -> Tensor:
        """What stays the same along a trajectory, `(*)`; 0 where both hang at rest."""
        q1, q2, v1, v2 = y.unbind(-1)
        motion = v1.square() + 0.5 * v2.square() + v1 * v2 * (q1 - q2).cos()
        return motion + self.gravity * (2 * (1 - q1.cos()) + (1 - q2.cos()))


def spring(
    n: int = 50,
    *,
    steps: int = 30,
    t1: float = 3.0,
    radius: tuple[float, float] = (0.1, 1.0),
    noise: float = 0.1,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `Spring`, measured with noise. The first half is what the paper trains on.

    Arguments:
        n: Number of trajectories.
        steps: Number of times.
        t1: The last time.
        radius: Smallest and largest distance of a start from the origin.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 2)`.

    References:
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> from torchdyn_datasets import Spring, spring
        >>> data = spring(4, noise=0.0)
        >>> energy = Spring().energy(data.values)
        >>> bool(torch.allclose(energy, energy[:, :1].expand(4, 30)))
        True
    """
    source = generator(seed)
    return simulated(
        "spring", Spring(), _in_the_square(n, radius, source), time_grid(steps, t1), channels=("q", "p"), noise=noise,
        source=source, dtype=dtype,
    )  # fmt: skip


def pendulum(
    n: int = 50,
    *,
    steps: int = 45,
    t1: float = 3.0,
    radius: tuple[float, float] = (1.3, 2.3),
    strength: float = 3.0,
    noise: float = 0.1,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `Pendulum`, measured with noise. The first half is what the paper trains on.

    Arguments:
        n: Number of trajectories.
        steps: Number of times.
        t1: The last time.
        radius: Smallest and largest distance of a start, angle and momentum, from the origin.
        strength: Of gravity.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 2)`.

    References:
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> from torchdyn_datasets import pendulum
        >>> pendulum(4).values.shape
        torch.Size([4, 45, 2])
    """
    source, strength = generator(seed), checked_number("strength", strength, least=-math.inf)
    return simulated(
        "pendulum", Pendulum(strength), _in_the_square(n, radius, source), time_grid(steps, t1), channels=("q", "p"),
        noise=noise, source=source, dtype=dtype,
    )  # fmt: skip


def double_pendulum(
    n: int = 40,
    *,
    steps: int = 101,
    t1: float = 10.0,
    rate: float = 10.0,
    gravity: float = 9.8,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `DoublePendulum`, which are chaotic. What the paper trains on are their states and slopes.

    Arguments:
        n: Number of trajectories.
        steps: Number of times.
        t1: The last time.
        rate: The largest rate of an angle at the start.
        gravity: Acceleration of gravity.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 4)`.

    References:
        Cranmer, Greydanus, Hoyer, Battaglia, Spergel, Ho (2020), Lagrangian neural networks. arXiv 2003.04630

    Example:
        >>> from torchdyn_datasets import double_pendulum
        >>> double_pendulum(2, steps=11, t1=1.0).channels
        ('q1', 'q2', 'v1', 'v2')
    """
    n, source = checked_count("n", n), generator(seed)
    rate, gravity = checked_number("rate", rate), checked_number("gravity", gravity, least=-math.inf)
    y0 = torch.cat((uniform((n, 2), 0.0, 2 * math.pi, source), uniform((n, 2), -rate, rate, source)), 1)
    return simulated(
        "double_pendulum", DoublePendulum(gravity), y0, time_grid(steps, t1), channels=("q1", "q2", "v1", "v2"),
        planes=((2, 3),),
        noise=noise, source=source, dtype=dtype,
    )  # fmt: skip


def _in_the_square(n: int, radius: tuple[float, float], source: torch.Generator) -> Tensor:
    """Directions of points that are uniform in a square, as in the paper's code, at distances that are uniform."""
    directions = uniform((checked_count("n", n), 2), -1.0, 1.0, source)
    radii = uniform((n, 1), *checked_range("radius", radius, 0.0), source)
    length: Tensor = directions.norm(dim=1, keepdim=True)
    return radii * directions / length
