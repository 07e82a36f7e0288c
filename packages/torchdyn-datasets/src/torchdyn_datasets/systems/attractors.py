"""Lorenz' attractor and the Brusselator, driven by noise."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchdyn_datasets.checks import checked_count, checked_number, checked_numbers, generator, normal
from torchdyn_datasets.records import Series, Trajectories
from torchdyn_datasets.systems.chaos import lorenz_slope
from torchdyn_datasets.systems.noise import NoisyField, finer, grid_until, noisy_paths, observed_paths
from torchdyn_datasets.systems.sporadic import sporadic

__all__ = ["StochasticBrusselator", "StochasticLorenz", "stochastic_brusselator", "stochastic_lorenz"]


class StochasticLorenz(NoisyField):
    """Lorenz' system with noise in every component.

    Arguments:
        sigma, rho, beta: As of `Lorenz`.
        strength: Of the noise, one for all components or one for each.
        proportional: Whether a component's noise is in proportion to it. Every other method than Euler's on the noise's
            grid is then refused.
        dt: Step of the noise's grid, on which Euler's method has to step.

    Shapes:
        y: `(B, 3)`.

    References:
        Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328

    Example:
        >>> import torch
        >>> from torchdyn_datasets import StochasticLorenz
        >>> field = StochasticLorenz(strength=(0.1, 0.2, 0.3), proportional=True)
        >>> field.diffusion(torch.tensor(0.0), torch.full((1, 3), 10.0))
        tensor([[1., 2., 3.]])
    """

    def __init__(
        self,
        sigma: float = 10.0,
        rho: float = 28.0,
        beta: float = 8 / 3,
        *,
        strength: float | Sequence[float] = 0.15,
        proportional: bool = False,
        dt: float = 0.001,
    ) -> None:
        super().__init__(dt)
        self.sigma, self.rho, self.beta = sigma, rho, beta
        if isinstance(strength, Sequence):
            self.strength = checked_numbers("strength", strength, 3, 0.0)
        else:
            self.strength = (checked_number("strength", strength),) * 3
        self.proportional = proportional
        self.additive = not proportional

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return lorenz_slope(y, self.sigma, self.rho, self.beta)

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        strength = torch.tensor(self.strength, dtype=y.dtype, device=y.device)
        return strength * y if self.proportional else strength.expand_as(y)


class StochasticBrusselator(NoisyField):
    """A chemical oscillator with noise: `dx = 1 - (b + 1) x + a x^2 y`, `dy = b x - a x^2 y`.

    Arguments:
        a: Rate at which the second substance becomes the first.
        b: Rate at which the first becomes the second; it oscillates where `b > 1 + a`.
        noise: Strength of the noise in both.
        correlation: Of the two noises.
        dt: Step of the noise's grid, on which Euler's method has to step.

    Shapes:
        y: `(B, 2)`.

    References:
        Prigogine, Lefever (1968), Symmetry breaking instabilities in dissipative systems II. doi:10.1063/1.1668896

    Example:
        >>> import torch
        >>> from torchdyn_datasets import StochasticBrusselator
        >>> at_rest = torch.tensor([[1.0, 1.4 / 0.3]])
        >>> StochasticBrusselator().drift(torch.tensor(0.0), at_rest).abs().max() < 1e-6
        tensor(True)
    """

    additive = True

    def __init__(
        self, a: float = 0.3, b: float = 1.4, noise: float = 0.01, *, dt: float = 0.1, correlation: float = -0.99
    ) -> None:
        super().__init__(dt, correlation)
        self.a, self.b, self.noise = a, b, noise

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        first, second = y.unbind(-1)
        turned = self.a * first.square() * second
        return torch.stack((1 - (self.b + 1) * first + turned, self.b * first - turned), -1)

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.full_like(y, self.noise)


def stochastic_lorenz(
    n: int = 1024,
    *,
    strength: float | Sequence[float] = 0.15,
    proportional: bool = False,
    t1: float = 1.0,
    dt: float = 0.025,
    substeps: int = 25,
    noise: float = 0.01,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Paths of `StochasticLorenz` from starts that are standard normal, measured with noise.

    Arguments:
        n: Number of paths.
        strength: Of the noise that drives them, one for all components or one for each.
        proportional: Whether a component's noise is in proportion to it; in the code of the paper's example it is,
            with the strengths 0.1, 0.28, 0.3.
        t1: The last time.
        dt: Time between observations.
        substeps: Number of Euler's steps between observations.
        noise: Standard deviation of what is added to each observation.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values: `(n, t1 / dt + 1, 3)`.

    References:
        Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328

    Example:
        >>> from torchdyn_datasets import stochastic_lorenz
        >>> stochastic_lorenz(4).values.shape
        torch.Size([4, 41, 3])
    """
    source = generator(seed)
    y0 = normal((checked_count("n", n), 3), source)
    times = grid_until(t1, dt)
    field = StochasticLorenz(strength=strength, proportional=proportional, dt=finer(times, substeps))
    return observed_paths("stochastic_lorenz", field, y0, times, ("x1", "x2", "x3"), noise, source, dtype)


def stochastic_brusselator(
    n: int = 1000,
    *,
    a: float = 0.3,
    b: float = 1.4,
    noise: float = 0.01,
    correlation: float = -0.99,
    t1: float = 50.0,
    dt: float = 0.1,
    rate: float | None = 0.5,
    joint: float = 0.8,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Series:
    """Paths of `StochasticBrusselator` around its point of rest, observed now and then.

    The defaults are those of the published file, `brusselator()`, as they can be measured in it: noise 0.01 and
    correlation -0.99. Its authors' script scales the noise twice by the 0.1 that is given as its strength, and does not
    pass the correlation of 0.99 on.

    Arguments:
        n: Number of series.
        a: Rate at which the second substance becomes the first.
        b: Rate at which the first becomes the second.
        noise: Strength of the noise that drives both.
        correlation: Of the two noises.
        t1: The end of the time span.
        dt: Step of the grid that all is simulated on, and observed on.
        rate: Number of observations in a unit of time, on average. None: all times of the grid, both channels.
        joint: How many of the observations are of both channels.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        series: `(n, L, 2)`; L differs from series to series.

    References:
        De Brouwer, Simm, Arany, Moreau (2019), GRU-ODE-Bayes. arXiv 1905.12374

    Example:
        >>> from torchdyn_datasets import stochastic_brusselator
        >>> data = stochastic_brusselator(100)
        >>> int(data.series.lengths.min()) >= 20, int(data.series.lengths.max()) <= 30
        (True, True)
    """
    n, source = checked_count("n", n), generator(seed)
    a, b = checked_number("a", a, positive=True), checked_number("b", b)
    rest = torch.tensor([1.0, b / a], dtype=torch.float64)
    times = grid_until(t1, dt)
    field = StochasticBrusselator(a, b, checked_number("noise", noise), dt=finer(times, 1), correlation=correlation)
    paths = noisy_paths(field, rest + 0.3 * normal((n, 2), source), times, source)
    series = sporadic(paths, times, rate, joint, source, dtype)
    return Series("stochastic_brusselator", "all", series, channels=("x", "y"))
