"""Lorenz' attractor."""

from __future__ import annotations

import torch
from torch import Tensor

from torchdyn_core import VectorField
from torchdyn_core.tree import Tree
from torchdyn_datasets.checks import checked_count, generator, normal
from torchdyn_datasets.records import Trajectories
from torchdyn_datasets.systems.simulate import simulated, time_grid

__all__ = ["Lorenz", "lorenz"]


class Lorenz(VectorField):
    """Convection in three numbers: trajectories that start close to each other end far apart.

    Arguments:
        sigma: Prandtl's number.
        rho: Rayleigh's number, in that at which convection sets in.
        beta: Shape of the cells.

    Shapes:
        y: `(*, 3)`.

    References:
        Lorenz (1963), Deterministic nonperiodic flow. doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2

    Example:
        >>> import torch
        >>> from torchdyn_datasets import Lorenz
        >>> Lorenz()(torch.tensor(0.0), torch.tensor([1.0, 2.0, 3.0])).tolist()
        [10.0, 23.0, -6.0]
    """

    def __init__(self, sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3) -> None:
        super().__init__()
        self.sigma, self.rho, self.beta = sigma, rho, beta

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        return lorenz_slope(y, self.sigma, self.rho, self.beta)


def lorenz_slope(y: Tensor, sigma: float, rho: float, beta: float) -> Tensor:
    """The slope, which the system has with noise and without."""
    x1, x2, x3 = y.unbind(-1)
    return torch.stack((sigma * (x2 - x1), x1 * (rho - x3) - x2, x1 * x2 - beta * x3), -1)


def lorenz(
    n: int = 100,
    *,
    steps: int = 250,
    t1: float = 5.0,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `Lorenz` from starts that are standard normal.

    Arguments:
        n: Number of trajectories.
        steps: Number of times.
        t1: The last time.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 3)`.

    References:
        Lorenz (1963), Deterministic nonperiodic flow. doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2

    Example:
        >>> from torchdyn_datasets import lorenz
        >>> lorenz(2, steps=50, t1=1.0).values.shape
        torch.Size([2, 50, 3])
    """
    source = generator(seed)
    y0 = normal((checked_count("n", n), 3), source)
    return simulated(
        "lorenz", Lorenz(), y0, time_grid(steps, t1), channels=("x1", "x2", "x3"), planes=((0, 2),), noise=noise,
        source=source, dtype=dtype,
    )  # fmt: skip
