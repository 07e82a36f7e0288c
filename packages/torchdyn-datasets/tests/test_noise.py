"""Noise: Euler-Maruyama to the bit, and the moments of those processes whose laws are known."""

import math

import pytest
import torch

from torchdyn_core import Euler, Fixed, IntegrationError, OptionError, ShapeError, solve
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
OPTIONS = {"solver": "euler", "controller": Fixed(dt=0.1)}


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


class Walk(NoisyField):
    """Brownian paths, additive."""

    additive = True

    def drift(self, t, y):
        return torch.zeros_like(y)

    def diffusion(self, t, y):
        return torch.ones_like(y)


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


# by hand, out of the papers: the drift and the diffusion
EQUATIONS = [
    (
        OrnsteinUhlenbeck(1.3, 0.4, 0.6), (1.7, 0.9),
        lambda x, y: (1.3 * (0.4 - x), 1.3 * (0.4 - y)), lambda x, y: (0.6, 0.6),
    ),
    (GeometricBrownianMotion(1.3, 0.6), (1.7, 0.5), lambda x, y: (1.3 * x, 1.3 * y), lambda x, y: (0.6 * x, 0.6 * y)),
    (
        StochasticLorenz(9.0, 27.0, 2.5, strength=(0.1, 0.2, 0.3)), (1.7, 0.6, 3.1),
        lambda x, y, z: (9 * (y - x), x * (27 - z) - y, x * y - 2.5 * z), lambda x, y, z: (0.1, 0.2, 0.3),
    ),
    (
        StochasticLorenz(strength=0.4, proportional=True), (1.7, 0.6, 3.1),
        lambda x, y, z: (10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z),
        lambda x, y, z: (0.4 * x, 0.4 * y, 0.4 * z),
    ),
    (
        StochasticBrusselator(0.4, 1.3, 0.2), (1.7, 0.6),
        lambda x, y: (1 - 2.3 * x + 0.4 * x**2 * y, 1.3 * x - 0.4 * x**2 * y), lambda x, y: (0.2, 0.2),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("field", "state", "drift", "diffusion"), EQUATIONS, ids=lambda value: type(value).__name__)
def test_fields_are_the_equations_of_the_papers(field, state, drift, diffusion):
    t, y = torch.tensor(0.7, dtype=D), torch.tensor([state, state], dtype=D)
    for found, wanted in ((field.drift(t, y), drift(*state)), (field.diffusion(t, y), diffusion(*state))):
        assert torch.allclose(found, torch.tensor(wanted, dtype=D).expand(2, -1), rtol=1e-12)


class TestNoiseThatDependsOnTheState:
    """Ito's sense is what Euler's steps on the grid come to; what would come to another one is refused."""

    @pytest.mark.parametrize("dtype", [torch.float32, D])
    @pytest.mark.parametrize("per_sample", [False, True])
    @pytest.mark.parametrize("span", [(0.0, 1.0), (1.3, 2.3), (0.0, 0.995), (0.0, 0.01), (100.0, 100.4), (-1.0, 0.2)])
    def test_eulers_steps_on_the_grid_are_admitted(self, dtype, per_sample, span):
        field, y0 = GeometricBrownianMotion(0.0, 1.0, dt=0.01), torch.ones(2000, 1, dtype=dtype)
        torch.manual_seed(0)
        for controller in (Fixed(dt=0.01), Fixed(dt=0.5)):  # the second one is cut at the grid's times
            end = solve(field, y0, span, solver="euler", controller=controller, per_sample=per_sample).ys[-1]
            assert abs(float(end.double().mean()) - 1) < 5 * (math.exp(span[1] - span[0]) / 2000) ** 0.5

    @pytest.mark.parametrize("dtype", [torch.float32, D])
    @pytest.mark.parametrize("per_sample", [False, True])
    @pytest.mark.parametrize("span", [(0.0, 1.0), (1.3, 2.3), (0.0, 0.01), (0.0, 0.005), (100.0, 100.4)])
    @pytest.mark.parametrize(
        "options",
        [
            {}, {"solver": "heun"}, {"solver": "rk4"}, {"solver": "midpoint"}, {"solver": "tsit5"},
            {"solver": "euler", "controller": Fixed(dt=0.002)}, {"solver": "euler", "controller": Fixed(steps=1001)},
        ],
        ids=str,
    )  # fmt: skip
    def test_all_others_are_refused(self, options, span, per_sample, dtype):
        field, y0 = GeometricBrownianMotion(0.0, 1.0, dt=0.01), torch.ones(3, 1, dtype=dtype)
        if options and "controller" not in options:
            options = {**options, "controller": Fixed(dt=0.01)}
        wanted = r"asked at t=.*, which is not the start of a step .*solver=\"euler\", controller=Fixed\(dt=0\.01\)"
        with pytest.raises(OptionError, match=wanted):
            solve(field, y0, span, per_sample=per_sample, **options)

    def test_going_back_in_time_is_refused(self):
        field, y0 = GeometricBrownianMotion(dt=0.1), torch.ones(3, 1, dtype=D, requires_grad=True)
        solve(field, y0, [0.0, 1.0], adjoint="checkpointed", **OPTIONS).ys[-1].sum().backward()
        ends = solve(field, y0, [0.0, 1.0], adjoint="backsolve", **OPTIONS).ys[-1]
        with pytest.raises(OptionError, match="no adjoint that goes back in time"):
            ends.sum().backward()

    def test_rows_that_have_come_to_their_end_wait_there(self):
        field, y0 = GeometricBrownianMotion(0.0, 1.0, dt=0.1), torch.ones(3, 1, dtype=D)
        begun = field.drawn(torch.tensor(0.0), torch.tensor(1.0), y0, torch.Generator().manual_seed(0))
        ts = torch.tensor([[0.0, 0.0, 0.5], [0.5, 1.0, 1.0]], dtype=D)
        ends = solve(begun, y0, ts, per_sample=True, **OPTIONS).ys[-1]
        for row in range(3):
            alone = begun.replace(rates=begun.rates[:, row : row + 1])
            assert torch.allclose(solve(alone, y0[:1], ts[:, row], **OPTIONS).ys[-1], ends[row])

    def test_rows_that_begin_between_the_grids_times_are_refused(self):
        ts = torch.tensor([[0.0, 0.05], [1.0, 1.05]], dtype=D)
        with pytest.raises(OptionError, match=r"asked at t=0\.05"):
            solve(GeometricBrownianMotion(dt=0.1), torch.ones(2, 1, dtype=D), ts, per_sample=True, **OPTIONS)

    @pytest.mark.parametrize("dtype", [torch.float32, D])
    def test_a_time_of_the_grid_is_one_however_it_was_rounded(self, dtype):
        field, y = GeometricBrownianMotion(0.0, 1.0, dt=0.1), torch.ones(3, 1, dtype=dtype)
        begun = field.drawn(torch.tensor(0.0), torch.tensor(1.0), y, torch.Generator().manual_seed(0))
        for time, rate in zip(begun.grid, begun.rates, strict=False):
            assert torch.equal(begun(time.to(dtype), y), rate)
            assert torch.equal(begun(torch.nextafter(time.to(dtype), torch.tensor(9.0, dtype=dtype)), y), rate)
        for time in (begun.grid[1:].to(dtype), begun.grid[1:-1].to(dtype) + 0.05):
            for before in time:
                with pytest.raises(OptionError, match="not the start of a step"):
                    begun(torch.nextafter(before, torch.tensor(-9.0, dtype=dtype)), y)

    def test_no_row_begins_a_step_at_the_end(self):
        field, y = GeometricBrownianMotion(0.0, 1.0, dt=0.1), torch.ones(3, 1)
        begun = field.drawn(torch.tensor(0.0), torch.tensor(1.0), y, torch.Generator().manual_seed(0))
        for t in (torch.tensor(1.0), torch.ones(3, 1)):
            with pytest.raises(OptionError, match="asked at t=1, "):
                begun(t, y)
        some = begun(torch.tensor([[0.0], [1.0], [1.0]]), y)
        assert float(some[0]) == float(begun.rates[0, 0])

    def test_which_fields_have_such_noise(self):
        assert not NoisyField.additive and not GeometricBrownianMotion().additive
        assert not StochasticLorenz(proportional=True).additive and StochasticLorenz().additive
        assert OrnsteinUhlenbeck().additive and StochasticBrusselator().additive

    def test_a_field_that_is_compiled_is_never_silently_wrong(self):
        field, y0 = GeometricBrownianMotion(0.0, 1.0, dt=0.1), torch.ones(3, 1, dtype=D)
        options = {**OPTIONS, "compile": "require"}
        torch.manual_seed(0)
        found = solve(field, y0, [0.0, 1.0], **options).ys
        torch.manual_seed(0)
        assert torch.allclose(solve(field, y0, [0.0, 1.0], **{**options, "compile": False}).ys, found)
        with pytest.raises(IntegrationError, match="NaN"):
            solve(field, y0, [0.0, 1.0], **{**options, "solver": "heun"})


class TestNoiseThatWasDrawn:
    @pytest.fixture
    def walk(self):
        """Paths on [0, 1], of five rows of two channels."""
        source = torch.Generator().manual_seed(0)
        return Walk(dt=0.1).drawn(torch.tensor(0.0), torch.tensor(1.0), torch.zeros(5, 2, dtype=D), source)

    @pytest.mark.parametrize("ts", [[0.0, 5.0], [-0.2, 1.0], [1.0, 2.0], [0.0, 1.01]])
    def test_it_is_not_used_beyond_its_span(self, walk, ts):
        with pytest.raises(ShapeError, match=r"has drawn its noise from t=0 to 1, and ts run from"):
            solve(walk, torch.zeros(5, 2, dtype=D), ts, **OPTIONS)

    def test_nor_by_a_solve_that_goes_on(self):
        field = Walk(dt=0.1)
        first = solve(field, torch.zeros(5, 2, dtype=D), [0.0, 1.0], **OPTIONS)
        with pytest.raises(ShapeError, match=r"let the noise be drawn for all of it, field\.drawn\(t0, t1, y0\)"):
            solve(field, first.final, [1.0, 2.0], **OPTIONS)
        whole = field.drawn(torch.tensor(0.0), torch.tensor(2.0), torch.zeros(5, 2, dtype=D))
        first = solve(whole, torch.zeros(5, 2, dtype=D), [0.0, 1.0], **OPTIONS)
        second = solve(whole, first.final, [1.0, 2.0], **OPTIONS)
        wanted = (whole.rates * whole.grid.diff()[:, None, None]).sum(0)
        assert torch.allclose(second.ys[-1], wanted)

    @pytest.mark.parametrize("shape", [(4, 2), (1, 2), (5, 1), (10, 2)])
    def test_it_is_not_used_for_other_rows(self, walk, shape):
        with pytest.raises(ShapeError, match=r"has drawn its noise for states \(5, 2\), and got a state"):
            solve(walk, torch.zeros(shape, dtype=D), [0.0, 1.0], **OPTIONS)

    def test_time_may_have_been_rounded_and_be_a_part(self, walk):
        for ts in (torch.tensor([0.0, 1.0]), [0.0, 1.0 + 1e-8], [0.2, 0.7]):
            end = solve(walk, torch.zeros(5, 2, dtype=D), ts, **OPTIONS).ys[-1]
            assert bool(end.isfinite().all())

    def test_a_state_of_another_precision_takes_it_too(self, walk):
        ends = [solve(walk, torch.zeros(5, 2, dtype=d), [0.0, 1.0], **OPTIONS).ys[-1] for d in (D, torch.float32)]
        assert ends[1].dtype is torch.float32 and torch.allclose(ends[0].float(), ends[1], atol=1e-5)

    def test_it_does_not_run_backwards(self, walk):
        with pytest.raises(ShapeError, match="back to 0"):
            solve(walk, torch.zeros(5, 2, dtype=D), [1.0, 0.0], **OPTIONS)
        ts = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=D)
        with pytest.raises(ShapeError, match="wanted a noisy system to run forward in time"):
            solve(Walk(dt=0.1), torch.zeros(2, 1, dtype=D), ts, per_sample=True, **OPTIONS)

    @pytest.mark.parametrize(
        ("dtype", "dt", "start", "fine"),
        [
            (torch.float16, 0.001, 1.0, False), (torch.float16, 0.01, 1.0, True), (torch.bfloat16, 0.01, 1.0, False),
            (torch.float32, 0.001, 1e4, False), (torch.float32, 0.01, 1e4, True), (D, 0.001, 1e4, True),
        ],
    )  # fmt: skip
    def test_times_that_are_one_in_the_states_precision_are_no_grid(self, dtype, dt, start, fine):
        field, y0 = Walk(dt=dt), torch.zeros(3, 1, dtype=dtype)
        span = torch.tensor([start, start + 20.5 * dt], dtype=D)
        if not fine:
            with pytest.raises(OptionError, match=rf"dt={dt:g} is too small for {dtype}.*torch\.float64, or a larger"):
                field.drawn(*span, y0)
            return
        begun = field.drawn(*span, y0)
        seen = []
        watched = begun.replace(diffusion=lambda t, y: seen.append(begun._rate(t, y)) or torch.ones_like(y))
        solve(watched, y0, span, solver="euler", controller=Fixed(dt=dt), adjoint="direct")
        assert torch.equal(torch.stack(seen), begun.rates)  # each piece once, in its order


def test_a_solve_draws_its_noise_once_from_torchs_generator():
    field, y0 = Growth(dt=0.1), torch.ones(3, 1)
    options = OPTIONS
    torch.manual_seed(0)
    first = solve(field, y0, [0.0, 1.0], **options).ys
    other = solve(field, y0, [0.0, 1.0], **options).ys
    torch.manual_seed(0)
    again = solve(field, y0, [0.0, 1.0], **options).ys
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_what_a_noisy_field_cannot_do_is_said():
    options = OPTIONS
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
