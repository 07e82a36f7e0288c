"""Stochastic differential equations that are solved by Euler's method on a grid: noise as a slope.

Between two times of a grid, a Brownian path is taken to rise evenly. Euler's steps on that grid then are those of Euler
and Maruyama, which is all that simulating data asks for. Between the grid's times the path is no Brownian one: where
the noise depends on the state, finer steps and other methods would solve the equation in Stratonovich's sense, which is
another one, and are refused.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchdyn_core import Fixed, OptionError, ShapeError, VectorField, solve
from torchdyn_core.field import real_dtype
from torchdyn_core.tree import Tree
from torchdyn_datasets.checks import checked_between, checked_count, checked_dtype, checked_number, normal
from torchdyn_datasets.records import Trajectories
from torchdyn_datasets.systems.simulate import time_grid

__all__ = ["NoisyField", "finer", "grid_until", "noisy_paths", "observed_paths"]

_MOST_STEPS = 1_000_000


class NoisyField(VectorField):
    """A system that noise drives, in Ito's sense: `dy = drift(t, y) dt + diffusion(t, y) dW`.

    A solve draws its noise once, on a grid of step `dt`, on which Euler's method has to step: `solver="euler",
    controller=Fixed(dt=field.dt)`. It ends steps at the grid's times itself, so that none can be left out. Methods that
    ask at other times are refused, unless the field is `additive`: then Ito's sense and Stratonovich's are the same,
    and all of them come to it. So are rows that start between the grid's times, or end there and wait, and `Backsolve`,
    which asks at the other end of a step. A compiled solve cannot raise; there the slope is NaN at such times.

    Arguments:
        dt: Step of the grid.
        correlation: Of the noises of the two channels, where there are two.

    Attributes:
        additive: Whether the diffusion is the same in all states; it is not unless a subclass says so.

    Shapes:
        y: `(B, C)`; every row has a noise of its own.

    Raises:
        OptionError: If `dt` is not positive, or too small for the times of the state's precision; if the correlation is
            none; or if the field is not additive and is asked between the times of its grid.
        ShapeError: If the state is no batch of rows, time runs backwards, or a field that has drawn its noise is begun
            for another span or another batch.

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

    additive: bool = False

    def __init__(self, dt: float = 0.01, correlation: float = 0.0) -> None:
        super().__init__()
        self.dt = checked_number("dt", dt, positive=True)
        self.correlation = checked_between("correlation", correlation, -1.0, 1.0)
        self.grid: Tensor | None = None
        self.rates: Tensor | None = None

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        """The part of the slope that is no chance, like `y`."""
        raise NotImplementedError(f"{type(self).__name__} defines no drift(t, y)")

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        """How much of its noise each channel takes, like `y`."""
        raise NotImplementedError(f"{type(self).__name__} defines no diffusion(t, y)")

    def begin(self, t0: Tensor, t1: Tensor, y0: Tree) -> VectorField:
        return self.drawn(t0, t1, y0) if self.rates is None else self._again(y0)

    def drawn(self, t0: Tensor, t1: Tensor, y0: Tree, source: torch.Generator | None = None) -> NoisyField:
        """The field with its noise drawn for a span, from torch's generator or from another one."""
        y0, (start, end) = self._rows(y0), _span(t0, t1)
        count = max(1, math.ceil(float(end - start) / self.dt - 1e-9))
        latest, dtype = max(abs(float(start)), abs(float(end))), real_dtype(y0)
        if count > 1 and self.dt < 4 * torch.finfo(dtype).eps * latest:
            raise OptionError(
                f"dt={self.dt:g} is too small for {dtype}, which cannot tell times so close apart at t={latest:g}; "
                "wanted a state in torch.float64, or a larger dt"
            )
        grid = start + torch.arange(count + 1, dtype=torch.float64) * self.dt
        grid[-1] = end
        lengths = grid.diff().clamp(min=torch.finfo(torch.float64).tiny)
        standard = torch.randn((count, *y0.shape), generator=source, dtype=torch.float64)
        if self.correlation:
            first, second = standard.unbind(-1)
            rest = math.sqrt(1 - self.correlation**2)
            standard = torch.stack((first, self.correlation * first + rest * second), -1)
        rates = standard / lengths.sqrt()[:, None, None]  # increments are of size sqrt(dt), and stand for dt
        return self.replace(grid=grid.to(y0.device), rates=rates.to(y0.device, dtype))

    def _again(self, y0: Tree) -> NoisyField:
        """The field with the noise that it has drawn, for the states that this noise is for."""
        assert self.grid is not None and self.rates is not None
        y0 = self._rows(y0)
        if y0.shape != self.rates.shape[1:]:
            raise ShapeError(
                f"{type(self).__name__} has drawn its noise for states {tuple(self.rates.shape[1:])}, and got a state "
                f"{tuple(y0.shape)}; wanted the same, or a field that has not drawn any"
            )
        return self.replace(grid=self.grid.to(y0.device), rates=self.rates.to(y0.device, real_dtype(y0)))

    def _rows(self, y0: Tree) -> Tensor:
        if not isinstance(y0, Tensor) or y0.dim() != 2 or (self.correlation and y0.shape[1] != 2):
            got = f"of shape {tuple(y0.shape)}" if isinstance(y0, Tensor) else f"a {type(y0).__name__}"
            wanted = "(B, 2): its noises are correlated" if self.correlation else "(B, C)"
            raise ShapeError(f"{type(self).__name__} got a state {got}; wanted a batch of rows, {wanted}")
        return y0

    def breakpoints(self, t0: Tensor, t1: Tensor) -> Tensor | None:
        if self.grid is None:
            return None
        # a solve that goes on where another one ended has that one's noise, and asks for its breakpoints alone
        (start, end), first, last = _span(t0, t1), float(self.grid[0]), float(self.grid[-1])
        slack = 1e-3 * self.dt  # times may have been rounded
        if start < first - slack or end > last + slack:
            raise ShapeError(
                f"{type(self).__name__} has drawn its noise from t={first:g} to {last:g}, and ts run from {start:g} to "
                f"{end:g}; wanted a part of that: let the noise be drawn for all of it, field.drawn(t0, t1, y0)"
            )
        return self.grid

    def forward(self, t: Tensor, y: Tensor, *args: Tree) -> Tensor:
        assert self.grid is not None and self.rates is not None, "begin() draws the noise of a solve"
        return self.drift(t, y) + self.diffusion(t, y) * self._rate(t, y)

    def _rate(self, t: Tensor, y: Tensor) -> Tensor:
        """The noise's slope at t. At a time of the grid, core asks on the side that a step is on."""
        assert self.grid is not None and self.rates is not None
        times = t.reshape(-1)
        index = torch.searchsorted(self.grid, times.double(), right=True) - 1
        index = index.clamp(0, len(self.rates) - 1)  # in float32 the ends of the span may lie beside it
        fine = None
        if not self.additive:
            index, fine = self._at_a_start(times, index)
        if t.dim():
            rate = self.rates[index, torch.arange(len(y), device=y.device)]
        else:
            rate = self.rates.index_select(0, index)[0]
        if fine is not None and torch.compiler.is_compiling():
            return torch.where(fine[:, None], rate, torch.nan)
        if fine is not None and not bool(fine.all()):
            time = float(times[~fine][0])
            raise OptionError(
                f"{type(self).__name__} was asked at t={time:.9g}, which is not the start of a step on its grid: its "
                "noise depends on the state, and between times of the grid means something else than Ito's. Wanted "
                f'solver="euler", controller=Fixed(dt={self.dt!r}), and no adjoint that goes back in time'
            )
        return rate

    def _at_a_start(self, times: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """The piece of the grid that begins at each time, and whether one does.

        Core asks for the start of a step at the grid's time itself or, since the field jumps there, at the next number
        behind it, and for the end of a step at the number before it. A time may have been rounded to before the grid's.
        Rows that have come to the end wait there, others going on; what they are told then is not used.
        """
        assert self.grid is not None
        grid = self.grid.to(times.dtype)
        following = (index + 1).clamp(max=len(grid) - 2)
        start, late = grid[index], times == grid[following]
        behind = torch.nextafter(start, torch.full_like(start, torch.inf))
        waits = times == grid[-1]
        fine = (times == start) | (times == behind) | late | (waits & ~waits.all())
        return torch.where(late, following, index), fine


def _span(t0: Tensor, t1: Tensor) -> tuple[Tensor, Tensor]:
    """Where a span begins and ends: that of all rows, where they have spans of their own."""
    t0, t1 = t0.detach().double(), t1.detach().double()
    start, end = t0.amin().cpu(), t1.amax().cpu()
    if bool((t1 < t0).any()):
        raise ShapeError(f"ts run from {start:g} back to {end:g}; wanted a noisy system to run forward in time")
    return start, end


def noisy_paths(field: NoisyField, y0: Tensor, times: Tensor, source: torch.Generator) -> Tensor:
    """Paths of a system with noise at some times, `(N, T, C)`, drawn from a generator."""
    with torch.no_grad():
        begun = field.drawn(times[0], times[-1], y0, source)
        states = solve(
            begun, y0, times, solver="euler", controller=Fixed(dt=field.dt), adjoint="direct", max_steps=_MOST_STEPS
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
    dtype = checked_dtype(dtype)
    values = noisy_paths(field, y0, times, source)
    values = values + checked_number("noise", noise) * normal(tuple(values.shape), source)
    planes = ((0, len(channels) - 1),)
    return Trajectories(name, "all", times.to(dtype), values.to(dtype), channels=channels, planes=planes)


def grid_until(t1: float, dt: float) -> Tensor:
    """Times from 0 to t1, `dt` apart as nearly as a whole number of steps allows."""
    steps = checked_number("t1", t1, positive=True) / checked_number("dt", dt, positive=True)
    if steps > _MOST_STEPS:
        raise OptionError(f"dt={dt!r} makes {steps:.3g} steps of t1={t1!r}; wanted at most {_MOST_STEPS}")
    return time_grid(max(1, round(steps)) + 1, t1)


def finer(times: Tensor, substeps: int) -> float:
    """The step of the noise, where so many of them make one step between observations."""
    count = checked_count("substeps", substeps)
    steps = (len(times) - 1) * count
    if steps > _MOST_STEPS:
        raise OptionError(f"substeps={substeps!r} makes {steps} steps in all; wanted at most {_MOST_STEPS}")
    return float(times[1] - times[0]) / count
