"""Ornstein and Uhlenbeck's process and geometric Brownian motion, whose laws are known, and data of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_datasets.checks import checked_count, checked_number, checked_numbers, generator, normal, uniform
from torchdyn_datasets.records import Series, Trajectories
from torchdyn_datasets.systems.noise import NoisyField, finer, grid_until, noisy_paths, observed_paths
from torchdyn_datasets.systems.sporadic import sporadic

__all__ = [
    "GeometricBrownianMotion",
    "OrnsteinUhlenbeck",
    "double_ornstein_uhlenbeck",
    "geometric_brownian_motion",
    "ornstein_uhlenbeck",
]


class OrnsteinUhlenbeck(NoisyField):
    """A walk that is drawn back to its mean: `dy = theta (mean - y) dt + sigma dW`.

    Arguments:
        theta: How strongly it is drawn back.
        mean: Where to, one for all or `(B, C)`.
        sigma: Strength of the noise.
        dt: Step of the noise's grid, on which Euler's method has to step.
        correlation: Of the noises of the two channels, where there are two.

    Shapes:
        y: `(B, C)`.

    References:
        Uhlenbeck, Ornstein (1930), On the theory of the Brownian motion. doi:10.1103/PhysRev.36.823

    Example:
        >>> import torch
        >>> from torchdyn_datasets import OrnsteinUhlenbeck
        >>> OrnsteinUhlenbeck(theta=2.0).drift(torch.tensor(0.0), torch.ones(1, 1)).tolist()
        [[-2.0]]
    """

    additive = True

    def __init__(
        self,
        theta: float = 1.0,
        mean: float | Tensor = 0.0,
        sigma: float = 0.5,
        *,
        dt: float = 0.01,
        correlation: float = 0.0,
    ) -> None:
        super().__init__(dt, correlation)
        self.theta, self.mean, self.sigma = theta, mean, sigma

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return self.theta * (self.mean - y)

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.full_like(y, self.sigma)


class GeometricBrownianMotion(NoisyField):
    """Growth whose rate is noisy: `dy = mu y dt + sigma y dW`, in Ito's sense.

    The noise depends on the state, so every other method than Euler's on the noise's grid is refused.

    Arguments:
        mu: Mean rate of growth.
        sigma: Strength of the noise.
        dt: Step of the noise's grid, on which Euler's method has to step.

    Shapes:
        y: `(B, C)`.

    References:
        Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328

    Example:
        >>> import torch
        >>> from torchdyn_datasets import GeometricBrownianMotion
        >>> GeometricBrownianMotion().diffusion(torch.tensor(0.0), torch.full((1, 1), 3.0)).tolist()
        [[1.5]]
    """

    def __init__(self, mu: float = 1.0, sigma: float = 0.5, *, dt: float = 0.01) -> None:
        super().__init__(dt)
        self.mu, self.sigma = mu, sigma

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return self.mu * y

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return self.sigma * y


def ornstein_uhlenbeck(
    n: int = 1024,
    *,
    theta: float = 1.0,
    mean: float = 0.0,
    sigma: float = 0.5,
    start: float | None = None,
    t1: float = 10.0,
    dt: float = 0.1,
    substeps: int = 10,
    noise: float = 0.0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Paths of `OrnsteinUhlenbeck`.

    Arguments:
        n: Number of paths.
        theta: How strongly a path is drawn back to its mean.
        mean: Where to.
        sigma: Strength of the noise that drives it.
        start: Where all paths start. Default: each where its stationary law puts it.
        t1: The last time.
        dt: Time between observations.
        substeps: Number of Euler's steps between observations.
        noise: Standard deviation of what is added to each observation.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values: `(n, t1 / dt + 1, 1)`.

    References:
        Uhlenbeck, Ornstein (1930), On the theory of the Brownian motion. doi:10.1103/PhysRev.36.823

    Example:
        >>> from torchdyn_datasets import ornstein_uhlenbeck
        >>> ornstein_uhlenbeck(4).values.shape
        torch.Size([4, 101, 1])
    """
    n, source = checked_count("n", n), generator(seed)
    theta, sigma = checked_number("theta", theta, positive=True), checked_number("sigma", sigma)
    mean = checked_number("mean", mean, least=-math.inf)
    if start is None:
        y0 = mean + sigma / (2 * theta) ** 0.5 * normal((n, 1), source)
    else:
        y0 = torch.full((n, 1), checked_number("start", start, least=-math.inf), dtype=torch.float64)
    times = grid_until(t1, dt)
    field = OrnsteinUhlenbeck(theta, mean, sigma, dt=finer(times, substeps))
    return observed_paths("ornstein_uhlenbeck", field, y0, times, ("y",), noise, source, dtype)


def geometric_brownian_motion(
    n: int = 1024,
    *,
    mu: float = 1.0,
    sigma: float = 0.5,
    start: float = 0.1,
    spread: float = 0.03,
    t1: float = 1.0,
    dt: float = 0.02,
    substeps: int = 10,
    noise: float = 0.01,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Trajectories:
    """Paths of `GeometricBrownianMotion`, measured with noise, as the latent SDE is tried on.

    Arguments:
        n: Number of paths.
        mu: Mean rate of growth.
        sigma: Strength of the noise that drives them.
        start: Mean of where they start.
        spread: Standard deviation of where they start.
        t1: The last time.
        dt: Time between observations.
        substeps: Number of Euler's steps between observations.
        noise: Standard deviation of what is added to each observation.
        seed: Start of the random numbers; torch's own are left alone.
        dtype: Of times and values.

    Shapes:
        values: `(n, t1 / dt + 1, 1)`.

    References:
        Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328

    Example:
        >>> from torchdyn_datasets import geometric_brownian_motion
        >>> geometric_brownian_motion(4).values.shape
        torch.Size([4, 51, 1])
    """
    n, source = checked_count("n", n), generator(seed)
    mu, start = (checked_number(name, value, least=-math.inf) for name, value in (("mu", mu), ("start", start)))
    y0 = start + checked_number("spread", spread) * normal((n, 1), source)
    times = grid_until(t1, dt)
    field = GeometricBrownianMotion(mu, checked_number("sigma", sigma), dt=finer(times, substeps))
    return observed_paths("geometric_brownian_motion", field, y0, times, ("y",), noise, source, dtype)


def double_ornstein_uhlenbeck(
    n: int = 10000,
    *,
    theta: float = 1.0,
    sigma: float = 0.1,
    correlation: float = 0.99,
    means: tuple[float, float] = (1.0, -1.0),
    width: float = 0.5,
    t1: float = 10.0,
    dt: float = 0.05,
    rate: float | None = 2.0,
    joint: float = 0.2,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Series:
    """Pairs of `OrnsteinUhlenbeck` paths with noises that go together, observed now and then.

    Both start at 0. Each is drawn back to a mean of its own, uniform around one for all.

    Arguments:
        n: Number of pairs.
        theta: How strongly a path is drawn back to its mean.
        sigma: Strength of the noise that drives it.
        correlation: Of the two noises.
        means: Mean of the means of the two channels.
        width: How far a mean may be from that, on either side.
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
        >>> from torchdyn_datasets import double_ornstein_uhlenbeck
        >>> data = double_ornstein_uhlenbeck(100)
        >>> int(data.series.lengths.min()) >= 16, int(data.series.lengths.max()) <= 24
        (True, True)
    """
    n, source = checked_count("n", n), generator(seed)
    width = checked_number("width", width)
    mean = torch.tensor(checked_numbers("means", means, 2), dtype=torch.float64)
    times = grid_until(t1, dt)
    field = OrnsteinUhlenbeck(
        checked_number("theta", theta), mean + uniform((n, 2), -width, width, source), checked_number("sigma", sigma),
        dt=finer(times, 1), correlation=correlation,
    )  # fmt: skip
    paths = noisy_paths(field, torch.zeros(n, 2, dtype=torch.float64), times, source)
    series = sporadic(paths, times, rate, joint, source, dtype)
    return Series("double_ornstein_uhlenbeck", "all", series, channels=("y1", "y2"))
