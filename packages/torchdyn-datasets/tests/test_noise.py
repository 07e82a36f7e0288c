"""Noise: Euler-Maruyama to the bit, and the moments of those processes whose laws are known."""

import math

import pytest
import torch

from torchdyn_core import Euler, Fixed, OptionError, ShapeError, solve
from torchdyn_core.testing import FieldSuite
from torchdyn_datasets import (
    GeometricBrownianMotion,
    Lorenz,
    NoisyField,
    OrnsteinUhlenbeck,
    StochasticBrusselator,
    StochasticLorenz,
    double_ornstein_uhlenbeck,
    geometric_brownian_motion,
    ornstein_uhlenbeck,
    stochastic_brusselator,
    stochastic_lorenz,
)
from torchdyn_datasets.systems.noise import finer, grid_until

D = torch.float64
MAKERS = [
    ornstein_uhlenbeck, double_ornstein_uhlenbeck, geometric_brownian_motion, stochastic_lorenz, stochastic_brusselator,
]  # fmt: skip


class NoisySuite(FieldSuite, suite=True):
    """A noisy field on the kit, its noise drawn beforehand: stepped by Euler's method, a row's noise its own."""

    def make(self):
        start, end = torch.tensor(0.0), torch.tensor(0.3)
        return self.noisy().drawn(start, end, self.state(), torch.Generator().manual_seed(0))

    def noisy(self):
        raise NotImplementedError

    def state(self):
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(0))

    def solver(self):
        return Euler()

    def make_like(self, field, y):
        rows = [row for row, state in enumerate(self.state()) if torch.equal(state, y[0])]
        return field.replace(rates=field.rates[:, rows])


class TestOrnsteinUhlenbeck(NoisySuite):
    def noisy(self):
        return OrnsteinUhlenbeck(dt=0.1, correlation=0.5)


class TestGeometricBrownianMotion(NoisySuite):
    def noisy(self):
        return GeometricBrownianMotion(dt=0.1)


class TestStochasticLorenz(NoisySuite):
    shape = (4, 3)

    def noisy(self):
        return StochasticLorenz(dt=0.1)


class TestStochasticLorenzInProportion(NoisySuite):
    shape = (4, 3)

    def noisy(self):
        return StochasticLorenz(strength=(0.1, 0.28, 0.3), proportional=True, dt=0.1)


class TestStochasticBrusselator(NoisySuite):
    def noisy(self):
        return StochasticBrusselator(dt=0.1)


class Growth(NoisyField):
    def drift(self, t, y):
        return t * y

    def diffusion(self, t, y):
        return 0.3 * y


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("dt", [0.25, 0.3, 0.001])
def test_euler_steps_are_euler_and_maruyamas(dt, dtype):
    field, y0 = Growth(dt=dt), torch.ones(5, 2, dtype=dtype)
    begun = field.drawn(torch.tensor(1.0), torch.tensor(2.0), y0, torch.Generator().manual_seed(0))
    solution = solve(begun, y0, [1.0, 2.0], solver="euler", controller=Fixed(dt=dt))
    y = y0
    standard = torch.randn(begun.rates.shape, generator=torch.Generator().manual_seed(0), dtype=D)
    for t0, t1, normal in zip(begun.grid[:-1], begun.grid[1:], standard, strict=True):
        h = t1 - t0
        y = y + t0.to(dtype) * y * h.to(dtype) + 0.3 * y * (h.sqrt() * normal).to(dtype)
    tolerance = 1e-12 if dtype is D else 1e-4
    assert torch.allclose(solution.ys[-1], y, rtol=tolerance)
    assert int(solution.stats.steps) == len(begun.rates) == math.ceil(1 / dt - 1e-9)


def test_no_step_may_leave_a_piece_of_the_noise_out():
    field, y0 = Growth(dt=0.1), torch.ones(3, 1, dtype=D)
    begun = field.begin(torch.tensor(0.0), torch.tensor(1.0), y0)
    fine, coarse = (solve(begun, y0, [0.0, 1.0], solver="euler", controller=Fixed(dt=dt)).ys[-1] for dt in (0.1, 1.0))
    assert torch.allclose(fine, coarse, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("solver", ["euler", "heun", "rk4"])
def test_every_stage_of_a_step_sees_the_noise_of_that_step(solver, dtype):
    field, y0 = OrnsteinUhlenbeck(theta=0.0, sigma=1.0, dt=0.001), torch.zeros(4, 1, dtype=dtype)
    span = torch.tensor([1.3, 2.3], dtype=D)
    begun = field.drawn(*span, y0, torch.Generator().manual_seed(0))
    for per_sample in (False, True):
        end = solve(begun, y0, span, solver=solver, controller=Fixed(dt=0.001), per_sample=per_sample).ys[-1]
        wanted = (begun.rates.double() * begun.grid.diff()[:, None, None]).sum(0)
        assert torch.allclose(end.double(), wanted, rtol=0, atol=1e-11 if dtype is D else 1e-5)


def test_a_solve_draws_its_noise_once_from_torchs_generator():
    field, y0 = Growth(dt=0.1), torch.ones(3, 1)
    options = {"solver": "euler", "controller": Fixed(dt=0.1)}
    torch.manual_seed(0)
    first = solve(field, y0, [0.0, 1.0], **options).ys
    other = solve(field, y0, [0.0, 1.0], **options).ys
    torch.manual_seed(0)
    again = solve(field, y0, [0.0, 1.0], **options).ys
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_a_noisy_field_cannot_do_is_said():
    options = {"solver": "euler", "controller": Fixed(dt=0.1)}
    with pytest.raises(ShapeError, match=r"wanted a batch of rows, \(B, C\)"):
        solve(Growth(dt=0.1), torch.ones(3), [0.0, 1.0], **options)
    with pytest.raises(ShapeError, match=r"wanted a batch of rows, \(B, 2\): its noises are correlated"):
        solve(OrnsteinUhlenbeck(dt=0.1, correlation=0.5), torch.ones(3, 1), [0.0, 1.0], **options)
    with pytest.raises(ShapeError, match="ts run from 1 back to 0"):
        solve(Growth(dt=0.1), torch.ones(3, 1), [1.0, 0.0], **options)
    with pytest.raises(OptionError, match=r"correlation=1\.5; wanted a number between -1 and 1"):
        OrnsteinUhlenbeck(correlation=1.5)
    with pytest.raises(OptionError, match=r"dt=0\.0; wanted a finite number > 0"):
        OrnsteinUhlenbeck(dt=0.0)


@pytest.mark.parametrize("make", MAKERS)
def test_a_seed_makes_the_data_and_leaves_torch_alone(make):
    def values(seed):
        data = make(5, seed=seed)
        return data.values if hasattr(data, "values") else data.series.values

    before = torch.random.get_rng_state()
    assert torch.equal(values(3), values(3)) and not torch.equal(values(3)[:, :5], values(4)[:, :5])
    assert torch.equal(torch.random.get_rng_state(), before)


class TestLaws:
    """Moments against those of the law; the bounds are five standard errors, beside the bias of the steps."""

    n = 20000

    def test_ornstein_and_uhlenbeck_from_a_point(self):
        theta, mean, sigma, start = 1.5, 0.7, 0.4, 2.0
        data = ornstein_uhlenbeck(
            self.n, theta=theta, mean=mean, sigma=sigma, start=start, t1=1.0, dt=0.25, substeps=100, dtype=D
        )
        t = data.times
        wanted_mean = mean + (start - mean) * (-theta * t).exp()
        wanted_var = sigma**2 / (2 * theta) * (1 - (-2 * theta * t).exp())
        values = data.values[..., 0]
        assert torch.allclose(values.mean(0), wanted_mean, atol=5 * sigma / self.n**0.5 + 5e-3)
        assert torch.allclose(values.var(0), wanted_var, rtol=5 * (2 / self.n) ** 0.5 + 0.01, atol=1e-12)

    def test_ornstein_and_uhlenbeck_stationary(self):
        data = ornstein_uhlenbeck(self.n, t1=2.0, dt=0.5, substeps=50, dtype=D)
        values = data.values[..., 0]
        wanted = 0.125 * (-(data.times[:, None] - data.times).abs()).exp()
        assert torch.allclose(values.T.cov(), wanted, atol=0.125 * (5 * (2 / self.n) ** 0.5 + 0.01))

    def test_geometric_brownian_motion(self):
        mu, sigma = 0.8, 0.5
        data = geometric_brownian_motion(
            self.n, mu=mu, sigma=sigma, start=1.0, spread=0.0, t1=1.0, dt=0.5, substeps=200, noise=0.0, dtype=D
        )
        logs = data.values[:, 1:, 0].log()
        t = data.times[1:]
        assert torch.allclose(logs.mean(0), (mu - sigma**2 / 2) * t, atol=5 * sigma / self.n**0.5 + 5e-3)
        assert torch.allclose(logs.var(0), sigma**2 * t, rtol=5 * (2 / self.n) ** 0.5 + 0.01)

    def test_noise_of_measurement_comes_on_top(self):
        clean, noisy = (geometric_brownian_motion(2000, noise=noise, dtype=D).values for noise in (0.0, 0.01))
        assert abs(float((noisy - clean).std()) - 0.01) < 1e-4

    def test_both_walks_of_a_pair_go_together(self):
        series = double_ornstein_uhlenbeck(self.n, rate=None, width=0.0, dtype=D).series
        end = series.values[:, -1]
        decay = 1 - 0.05  # Euler's step is the process here, not an approximation of it
        wanted_mean = torch.tensor([1.0, -1.0], dtype=D) * (1 - decay**200)
        wanted_var = 0.1**2 * 0.05 * (1 - decay**400) / (1 - decay**2)
        assert torch.allclose(end.mean(0), wanted_mean, atol=0.005)
        assert torch.allclose(end.var(0), torch.full((2,), wanted_var, dtype=D), rtol=0.06)
        assert abs(float(end.T.corrcoef()[0, 1]) - 0.99) < 0.002

    def test_means_of_pairs_are_spread(self):
        end = double_ornstein_uhlenbeck(self.n, rate=None, sigma=0.0, dtype=D).series.values[:, -1]
        spread = end - torch.tensor([1.0, -1.0], dtype=D)
        assert 0.49 < float(spread.abs().max()) <= 0.5 + 1e-3
        assert torch.allclose(spread.var(0), torch.full((2,), 1 / 12, dtype=D), rtol=0.05)


class TestSporadic:
    def test_pairs_are_seen_now_and_then(self):
        series = double_ornstein_uhlenbeck(3000).series
        assert series.lengths.min() == 16 and series.lengths.max() == 23
        inside = torch.arange(series.times.shape[1]) < series.lengths[:, None]
        both = (series.mask.all(-1) & inside).sum() / inside.sum()
        assert bool((series.mask.any(-1) == inside).all())  # of each observation something was seen
        assert abs(float(both) - 0.2) < 0.01
        alone = [
            (series.mask[..., channel] & ~series.mask[..., 1 - channel]).sum() / inside.sum() for channel in (0, 1)
        ]
        assert abs(float(alone[0]) - 0.4) < 0.01 and abs(float(alone[1]) - 0.4) < 0.01
        assert bool((series.values[~series.mask] == 0).all())

    def test_times_are_distinct_times_of_the_grid(self):
        series = double_ornstein_uhlenbeck(200, dtype=D).series
        for times, length in zip(series.times, series.lengths, strict=True):
            places = times[:length] / 0.05
            assert torch.allclose(places, places.round()) and bool((times[:length].diff() > 0.04).all())

    def test_what_is_seen_is_the_path(self):
        seen, whole = (double_ornstein_uhlenbeck(20, rate=rate, dtype=D).series for rate in (2.0, None))
        places = (seen.times / 0.05).round().long()
        there = whole.values.gather(1, places[..., None].expand(-1, -1, 2))
        assert torch.equal(seen.values[seen.mask], there[seen.mask])

    def test_more_than_there_is_cannot_be_seen(self):
        with pytest.raises(OptionError, match=r"rate=100\.0: about 1000 observations of 201 times"):
            double_ornstein_uhlenbeck(5, rate=100.0)
        with pytest.raises(OptionError, match="joint=2; wanted a number between 0 and 1"):
            double_ornstein_uhlenbeck(5, joint=2)


def test_the_brusselator_has_the_published_noise():
    """Residuals of Euler's steps have the strength and the correlation that the published file shows."""
    series = stochastic_brusselator(200, rate=None, dtype=D).series
    now, then = series.values[:, :-1].flatten(0, 1), series.values[:, 1:].flatten(0, 1)
    drift = StochasticBrusselator().drift(torch.tensor(0.0), now)
    residual = (then - now - 0.1 * drift) / 0.1**0.5
    assert torch.allclose(residual.std(0), torch.full((2,), 0.01, dtype=D), rtol=0.02)
    assert float(StochasticBrusselator().diffusion(torch.tensor(0.0), now).max()) == pytest.approx(0.01)
    assert StochasticBrusselator().correlation == -0.99
    assert abs(float(residual.T.corrcoef()[0, 1]) + 0.99) < 0.002


def test_lorenz_is_lorenz_where_there_is_no_noise():
    data = stochastic_lorenz(5, strength=0.0, noise=0.0, t1=0.5, substeps=400, dtype=D)
    exact = solve(Lorenz(), data.values[:, 0], data.times).ys
    assert torch.allclose(data.values.transpose(0, 1), exact, rtol=0.02, atol=0.1)


def test_observations_are_evenly_apart_even_where_the_span_is_no_multiple():
    times = grid_until(1.0, 0.3)
    assert torch.allclose(times, torch.linspace(0, 1, 4, dtype=D))
    assert finer(times, 5) == pytest.approx(1 / 15)  # the noise's grid has the times of observation on it
    data = ornstein_uhlenbeck(2000, t1=1.0, dt=0.3, substeps=5, start=0.0, sigma=1.0, theta=1e-9, dtype=D)
    assert torch.equal(data.times, times)
    assert torch.allclose(data.values[..., 0].var(0), times, rtol=0.15, atol=1e-12)
