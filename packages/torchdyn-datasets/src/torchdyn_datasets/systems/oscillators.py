"""Systems that come to oscillate: Van der Pol, FitzHugh-Nagumo, predators and prey."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_core import VectorField
from torchdyn_core.tree import Tree
from torchdyn_datasets.checks import checked_count, checked_number, checked_range, generator, uniform
from torchdyn_datasets.records import Trajectories
from torchdyn_datasets.systems.simulate import simulated, time_grid

__all__ = ["FitzHughNagumo", "LotkaVolterra", "VanDerPol", "fitzhugh_nagumo", "lotka_volterra", "van_der_pol"]


class LotkaVolterra(VectorField):
    """Prey that grows unless it is eaten, and predators that die unless they eat.

    Arguments:
        growth: Of the prey.
        predation: How much of it a predator eats.
        gain: How much predators grow by it.
        death: Of the predators.

    Shapes:
        y: `(*, 2)`, prey and predators.

    References:
        Volterra (1926), Fluctuations in the abundance of a species considered mathematically. doi:10.1038/118558a0

    Example:
        >>> import torch
        >>> from torchdyn_datasets import LotkaVolterra
        >>> LotkaVolterra()(torch.tensor(0.0), torch.tensor([3.0, 1.5])).tolist()
        [0.0, 0.0]
    """

    def __init__(self, growth: float = 1.5, predation: float = 1.0, gain: float = 1.0, death: float = 3.0) -> None:
        super().__init__()
        self.growth, self.predation, self.gain, self.death = growth, predation, gain, death

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        prey, predators = y.unbind(-1)
        meetings = prey * predators
        return torch.stack(
            (self.growth * prey - self.predation * meetings, self.gain * meetings - self.death * predators), -1
        )


class VanDerPol(VectorField):
    """An oscillator whose friction changes its sign: all trajectories come to one cycle.

    Arguments:
        mu: Friction; where it is large, the system is stiff.

    Shapes:
        y: `(*, 2)`, position and velocity.

    References:
        van der Pol (1926), On relaxation-oscillations. doi:10.1080/14786442608564127

    Example:
        >>> import torch
        >>> from torchdyn_datasets import VanDerPol
        >>> VanDerPol(mu=2.0)(torch.tensor(0.0), torch.tensor([1.0, 0.5])).tolist()
        [0.5, -1.0]
    """

    def __init__(self, mu: float = 1.0) -> None:
        super().__init__()
        self.mu = mu

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        x, v = y.unbind(-1)
        return torch.stack((v, self.mu * (1 - x.square()) * v - x), -1)


class FitzHughNagumo(VectorField):
    """A nerve cell that fires again and again: a fast voltage and a slow recovery.

    Arguments:
        a, b: Where, and how steeply, recovery balances voltage.
        epsilon: How slow recovery is.
        current: What drives the cell.

    Shapes:
        y: `(*, 2)`, voltage and recovery.

    References:
        FitzHugh (1961), Impulses and physiological states in theoretical models of nerve membrane.
        doi:10.1016/S0006-3495(61)86902-6

    Example:
        >>> import torch
        >>> from torchdyn_datasets import FitzHughNagumo
        >>> FitzHughNagumo(current=0.5)(torch.tensor(0.0), torch.tensor([0.0, 0.5]))
        tensor([0.0000, 0.0240])
    """

    def __init__(self, a: float = 0.7, b: float = 0.8, epsilon: float = 0.08, current: float = 0.5) -> None:
        super().__init__()
        self.a, self.b, self.epsilon, self.current = a, b, epsilon, current

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        v, w = y.unbind(-1)
        return torch.stack((v - v.pow(3) / 3 - w + self.current, self.epsilon * (v + self.a - self.b * w)), -1)


def lotka_volterra(
    n: int = 100,
    *,
    steps: int = 100,
    t1: float = 10.0,
    start: tuple[float, float] = (0.5, 2.0),
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `LotkaVolterra`.

    Arguments:
        n: Number of trajectories.
        steps: Number of times.
        t1: The last time.
        start: Smallest and largest of prey and of predators at the start, neither below 0.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 2)`.

    Example:
        >>> from torchdyn_datasets import lotka_volterra
        >>> bool((lotka_volterra(5).values > 0).all())
        True
    """
    start = checked_range("start", start, 0.0)
    return _from_a_square(
        "lotka_volterra", LotkaVolterra(), ("prey", "predators"), n, steps, t1, start, noise, seed, dtype
    )


def van_der_pol(
    n: int = 100,
    *,
    mu: float = 1.0,
    steps: int = 200,
    t1: float = 20.0,
    start: tuple[float, float] = (-2.0, 2.0),
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `VanDerPol`.

    Arguments:
        n: Number of trajectories.
        mu: Friction; where it is large, the system is stiff.
        steps: Number of times.
        t1: The last time.
        start: Smallest and largest of position and of velocity at the start.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 2)`.

    Example:
        >>> from torchdyn_datasets import van_der_pol
        >>> data = van_der_pol(5)
        >>> round(float(data.values[:, -100:, 0].max()))
        2
    """
    mu = checked_number("mu", mu, least=-math.inf)
    return _from_a_square("van_der_pol", VanDerPol(mu), ("x", "v"), n, steps, t1, start, noise, seed, dtype)


def fitzhugh_nagumo(
    n: int = 100,
    *,
    current: float = 0.5,
    steps: int = 200,
    t1: float = 100.0,
    start: tuple[float, float] = (-1.5, 1.5),
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Trajectories of `FitzHughNagumo`.

    Arguments:
        n: Number of trajectories.
        current: What drives the cell; without it, it fires once at most.
        steps: Number of times.
        t1: The last time.
        start: Smallest and largest of voltage and of recovery at the start.
        noise: Standard deviation of what is added to each state.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values, slopes: `(n, steps, 2)`.

    Example:
        >>> from torchdyn_datasets import fitzhugh_nagumo
        >>> fitzhugh_nagumo(5).channels
        ('voltage', 'recovery')
    """
    field = FitzHughNagumo(current=checked_number("current", current, least=-math.inf))
    return _from_a_square("fitzhugh_nagumo", field, ("voltage", "recovery"), n, steps, t1, start, noise, seed, dtype)


def _from_a_square(
    name: str,
    field: VectorField,
    channels: tuple[str, ...],
    n: int,
    steps: int,
    t1: float,
    start: tuple[float, float],
    noise: float,
    seed: int,
    dtype: torch.dtype,
) -> Trajectories:
    """Trajectories from starts that are uniform in a square."""
    source = generator(seed)
    y0 = uniform((checked_count("n", n), 2), *checked_range("start", start), source)
    return simulated(name, field, y0, time_grid(steps, t1), channels=channels, noise=noise, source=source, dtype=dtype)
