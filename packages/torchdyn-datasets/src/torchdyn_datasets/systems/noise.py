"""Stochastic differential equations that are solved by Euler's method on a grid: noise as a slope.

Between two times of a grid, a Brownian path is taken to rise evenly. Euler's steps on that grid then are those of Euler
and Maruyama, which is all that simulating data asks for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_core import Fixed, OptionError, ShapeError, VectorField, solve
from torchdyn_core.field import real_dtype
from torchdyn_core.tree import Tree
from torchdyn_datasets.checks import checked_count, checked_number, normal
from torchdyn_datasets.records import Trajectories
from torchdyn_datasets.systems.simulate import time_grid

__all__ = ["NoisyField", "finer", "grid_until", "noisy_paths", "observed_paths"]


class NoisyField(VectorField):
    """A system that noise drives, in Ito's sense: `dy = drift(t, y) dt + diffusion(t, y) dW`.

    A solve draws its noise once, on a grid of step `dt`, on which Euler's method has to step: `solver="euler",
    controller=Fixed(dt=field.dt)`. It ends steps at the grid's times itself, so that none can be left out.

    Arguments:
        dt: Step of the grid.
        correlation: Of the noises of the two channels, where there are two.

    Shapes:
        y: `(B, C)`; every row has a noise of its own.

    Raises:
        OptionError: If `dt` is not positive, or the correlation is none.
        ShapeError: If the state is no batch of rows, or time runs backwards.

    References:
        Maruyama (1955), Continuous Markov processes and stochastic equations. doi:10.1007/BF02846028

    Example:
        >>> import torch
        >>> from torchdyn_core import Fixed, solve
        >>> from torchdyn_datasets.systems.noise import NoisyField
        >>> class Brownian(NoisyField):
        ...     def drift(self, t, y):
        ...         return torch.zeros_like(y)
        ...     def diffusion(self, t, y):
        ...         return torch.ones_like(y)
        >>> field, y0 = Brownian(dt=0.25), torch.zeros(1000, 1)
        >>> _ = torch.manual_seed(0)
        >>> ends = solve(field, y0, [0.0, 4.0], solver="euler", controller=Fixed(dt=0.25)).ys[-1]
        >>> round(float(ends.std()))
        2
    """

    def __init__(self, dt: float = 0.01, correlation: float = 0.0) -> None:
        super().__init__()
        self.dt = checked_number("dt", dt, positive=True)
        if not -1 <= correlation <= 1:
            raise OptionError(f"correlation={correlation!r}; wanted a number between -1 and 1")
        self.correlation = correlation
        self.grid: Tensor | None = None
        self.rates: Tensor | None = None

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        """The part of the slope that is no chance, like `y`."""
        raise NotImplementedError(f"{type(self).__name__} defines no drift(t, y)")

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        """How much of its noise each channel takes, like `y`."""
        raise NotImplementedError(f"{type(self).__name__} defines no diffusion(t, y)")

    def begin(self, t0: Tensor, t1: Tensor, y0: Tree) -> VectorField:
        return self if self.rates is not None else self.drawn(t0, t1, y0)

    def drawn(self, t0: Tensor, t1: Tensor, y0: Tree, source: torch.Generator | None = None) -> NoisyField:
        """The field with its noise drawn for a span, from torch's generator or from another one."""
        if not isinstance(y0, Tensor) or y0.dim() != 2 or (self.correlation and y0.shape[1] != 2):
            got = f"of shape {tuple(y0.shape)}" if isinstance(y0, Tensor) else f"a {type(y0).__name__}"
            wanted = "(B, 2): its noises are correlated" if self.correlation else "(B, C)"
            raise ShapeError(f"{type(self).__name__} got a state {got}; wanted a batch of rows, {wanted}")
        start, end = t0.double().amin().cpu(), t1.double().amax().cpu()
        if end < start:
            raise ShapeError(f"ts run from {start:g} back to {end:g}; wanted a noisy system to run forward in time")
        count = max(1, math.ceil(float(end - start) / self.dt - 1e-9))
        grid = start + torch.arange(count + 1, dtype=torch.float64) * self.dt
        grid[-1] = end
        lengths = grid.diff().clamp(min=torch.finfo(torch.float64).tiny)
        standard = torch.randn((count, *y0.shape), generator=source, dtype=torch.float64)
        if self.correlation:
            first, second = standard.unbind(-1)
            rest = math.sqrt(1 - self.correlation**2)
            standard = torch.stack((first, self.correlation * first + rest * second), -1)
        rates = standard / lengths.sqrt()[:, None, None]  # increments are of size sqrt(dt), and stand for dt
        return self.replace(grid=grid.to(y0.device), rates=rates.to(y0.device, real_dtype(y0)))

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        return self.grid

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        assert self.grid is not None and self.rates is not None, "begin() draws the noise of a solve"
        return self.drift(t, y) + self.diffusion(t, y) * self._rate(t, y)

    def _rate(self, t: Tensor, y: Tensor) -> Tensor:
        """The noise's slope at t. At a time of the grid, core asks on the side that a step is on."""
        assert self.grid is not None and self.rates is not None
        index = torch.searchsorted(self.grid, t.double().reshape(-1), right=True) - 1
        index = index.clamp(0, len(self.rates) - 1)  # in float32 the ends of the span may lie beside it
        if t.dim():
            return self.rates[index, torch.arange(len(y), device=y.device)]
        return self.rates.index_select(0, index)[0]


def noisy_paths(field: NoisyField, y0: Tensor, times: Tensor, source: torch.Generator) -> Tensor:
    """Paths of a system with noise at some times, `(N, T, C)`, drawn from a generator."""
    with torch.no_grad():
        begun = field.drawn(times[0], times[-1], y0, source)
        states = solve(
            begun, y0, times, solver="euler", controller=Fixed(dt=field.dt), adjoint="direct", max_steps=1_000_000
        ).ys
    assert isinstance(states, Tensor)
    return states.transpose(0, 1)


def observed_paths(
    name: str,
    field: NoisyField,
    y0: Tensor,
    times: Tensor,
    channels: tuple[str, ...],
    noise: float,
    source: torch.Generator,
    dtype: torch.dtype,
) -> Trajectories:
    """Paths of a noisy system at some times, with noise of measurement."""
    values = noisy_paths(field, y0, times, source)
    values = values + checked_number("noise", noise) * normal(tuple(values.shape), source)
    planes = ((0, len(channels) - 1),)
    return Trajectories(name, "all", times.to(dtype), values.to(dtype), channels=channels, planes=planes)


def grid_until(t1: float, dt: float) -> Tensor:
    """Times from 0 to t1, `dt` apart as nearly as a whole number of steps allows."""
    steps = round(checked_number("t1", t1, positive=True) / checked_number("dt", dt, positive=True))
    return time_grid(max(1, steps) + 1, t1)


def finer(times: Tensor, substeps: int) -> float:
    """The step of the noise, where so many of them make one step between observations."""
    return float(times[1] - times[0]) / checked_count("substeps", substeps)
