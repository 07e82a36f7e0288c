"""Toys: the same seed gives the same data, and the data are distributed as the papers' are."""

import math

import pytest
import torch

import torchdyn_datasets
from torchdyn_core import OptionError
from torchdyn_datasets import (
    annuli,
    checkerboard,
    circles,
    crossing_trajectories,
    eight_gaussians,
    gaussians,
    gaussians_spiral,
    moons,
    periodic,
    pinwheel,
    rings,
    spheres,
    spirals,
    two_spirals,
)

CLASSES = {
    moons: 2, circles: 2, rings: 4, spirals: 2, two_spirals: 2, annuli: 2, spheres: 2, gaussians: 7,
    gaussians_spiral: 7, eight_gaussians: 8, pinwheel: 5, checkerboard: 4, crossing_trajectories: 2,
}  # fmt: skip
N = 20000


@pytest.mark.parametrize("make", CLASSES, ids=lambda make: make.__name__)
class TestEveryToy:
    def test_a_seed_makes_the_data_and_leaves_torch_alone(self, make):
        before = torch.random.get_rng_state()
        first, again, other = make(60, seed=3), make(60, seed=3), make(60, seed=4)
        assert torch.equal(torch.random.get_rng_state(), before)
        assert torch.equal(first.points, again.points) and torch.equal(first.labels, again.labels)
        assert make is crossing_trajectories or not torch.equal(first.points, other.points)

    def test_precision_is_rounding(self, make):
        double, single = make(60, dtype=torch.float64).points, make(60).points
        assert double.dtype is torch.float64 and single.dtype is torch.float32
        assert torch.allclose(double.float(), single, atol=1e-6)

    def test_labels_count_the_classes(self, make):
        data = make(61)
        assert len(data) == len(data.points) == len(data.labels) == 61
        assert data.labels.dtype is torch.long and data.labels.unique().tolist() == list(range(CLASSES[make]))
        assert data.name == make.__name__ and data.split == "all"

    def test_the_start_of_the_data_has_all_classes(self, make):
        train, test = make(200).divide(0.8)
        assert len(train) == 160 and set(test.labels.tolist()) == set(train.labels.tolist())

    @pytest.mark.parametrize("wrong", [{"n": 0}, {"n": 2.0}, {"n": True}, {"seed": 0.5}, {"seed": None}])
    def test_what_makes_no_sense_is_refused(self, make, wrong):
        with pytest.raises(OptionError, match="wanted a whole number"):
            make(**wrong)


def entropy_of(points, centres, std):
    """Mean negative log-likelihood of points under Gaussians around centres: least where that is their density."""
    squared = torch.cdist(points, centres).square()
    log_density = (-squared / (2 * std**2)).logsumexp(1) - math.log(len(centres) * 2 * math.pi * std**2)
    return float(-log_density.mean())


ARC = torch.linspace(0.0, 2 * math.pi, 1001, dtype=torch.float64)[:-1]
CIRCLE = torch.stack((ARC.cos(), ARC.sin()), 1)


def moon_centres():
    half = torch.linspace(0.0, math.pi, 1001, dtype=torch.float64)
    upper = torch.stack((half.cos(), half.sin()), 1)
    return 2 * torch.cat((upper, torch.tensor([1.0, 0.5]) - upper)) + torch.tensor([-1.0, -0.2])


def ring_centres(*radii):
    return torch.cat([radius * CIRCLE for radius in radii])


@pytest.mark.parametrize(
    ("make", "centres", "std", "entropy", "tolerance"),
    [
        (eight_gaussians, 4 / 1.414 * CIRCLE[::125], 0.5 / 1.414, 2.835, 0.02),
        (moons, moon_centres(), 0.2, 2.391, 0.03),
        (circles, ring_centres(3.0, 1.5), 0.24, 3.269, 0.03),
        (rings, ring_centres(3.0, 2.25, 1.5, 0.75), 0.08, 2.626, 0.03),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_densities_have_the_entropies_of_the_paper(make, centres, std, entropy, tolerance):
    points = make(N, dtype=torch.float64).points
    assert abs(entropy_of(points, centres, std) - entropy) < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_checkerboard_is_uniform_on_its_fields(dtype):
    points = checkerboard(N, dtype=dtype).points.double()
    assert points.min() >= -4 and points.max() < 4
    column, row = ((points + 4) / 2).floor().long().unbind(1)
    assert bool(((column + row) % 2 == 0).all())
    counts = (4 * column + row).bincount(minlength=16)
    assert bool(((counts == 0) | ((counts - N / 8).abs() < 5 * (N / 8) ** 0.5)).all())
    inside = points % 2
    assert torch.allclose(inside.mean(0), torch.ones(2).double(), atol=0.02)
    assert torch.allclose(inside.var(0), torch.full((2,), 1 / 3).double(), atol=0.02)


def test_moons_are_where_they_are_drawn():
    data = moons(2000, noise=0.0, dtype=torch.float64)
    points = (data.points - torch.tensor([-1.0, -0.2])) / 2
    upper, lower = points[data.labels == 0], points[data.labels == 1]
    assert torch.allclose(upper.norm(dim=1), torch.ones(1000).double()) and bool((upper[:, 1] >= 0).all())
    centre = torch.tensor([1.0, 0.5])
    assert torch.allclose((lower - centre).norm(dim=1), torch.ones(1000).double()) and bool((lower[:, 1] <= 0.5).all())


def test_noise_of_circles_grows_with_them_and_that_of_rings_does_not():
    for data, std in ((circles(N), 3 * 0.08), (rings(N), 0.08)):
        outer = data.points[data.labels == 0].norm(dim=1)
        assert abs(float(outer.std()) - std) < 0.05 * std


def test_spirals_turn_as_far_as_they_are_told():
    data = spirals(N, noise=0.0, dtype=torch.float64)
    radius = data.points.norm(dim=1)
    end = 2 * math.pi * 780 / 360
    assert 0.99 * end < float(radius.max()) <= end
    # the radius is the angle, from the left clockwise; the second spiral is half a turn away
    x, y = ((1 - 2 * data.labels)[:, None] * data.points).unbind(1)
    assert torch.allclose(x, -radius * radius.cos()) and torch.allclose(y, radius * radius.sin())
    assert abs(float((radius / end).square().mean()) - 0.5) < 0.01  # uniform in the square of the angle


def test_two_spirals_are_those_of_the_paper():
    data = two_spirals(N, noise=0.0, dtype=torch.float64)
    first = 3 * data.points * (1 - 2 * data.labels)[:, None]
    # each coordinate is shifted by up to a half, so there is an angle within that of the spiral
    angle = torch.linspace(0.0, 3 * math.pi, 4001, dtype=torch.float64)
    curve = torch.stack((-angle.cos() * angle, angle.sin() * angle), 1)
    apart = torch.cdist(first[:2000] - 0.25, curve).min(1).values
    assert float(apart.max()) < 0.25 * 2**0.5 + 0.01
    assert abs(float(two_spirals(N, dtype=torch.float64).points.sub(data.points).std()) - 0.1) < 0.02


def test_pinwheel_has_equal_wings_of_the_right_size():
    data = pinwheel(N, dtype=torch.float64)
    assert abs(float(data.points.square().sum(1).mean()) - 4 * (1 + 0.3**2 + 0.1**2)) < 0.06
    first = data.points[data.labels == 0].mean(0)
    for wing in range(1, 5):
        angle = torch.tensor(2 * math.pi * wing / 5, dtype=torch.float64)
        back = torch.stack((torch.stack((angle.cos(), -angle.sin())), torch.stack((angle.sin(), angle.cos()))))
        assert torch.allclose(back @ data.points[data.labels == wing].mean(0), first, atol=0.05)
    # unbent, a wing points to the right
    straight = pinwheel(N, classes=1, rate=0.0, dtype=torch.float64).points
    assert torch.allclose(straight.mean(0), torch.tensor([2.0, 0.0]).double(), atol=0.02)
    assert torch.allclose(straight.std(0), torch.tensor([0.6, 0.2]).double(), atol=0.02)


@pytest.mark.parametrize("dims", [1, 2, 3, 10])
def test_annuli_are_uniform_in_volume(dims):
    data = annuli(N, dims=dims, dtype=torch.float64)
    radius = data.points.norm(dim=1)
    assert data.labels.bincount().tolist() == [round(N / 3), N - round(N / 3)]
    for label, (low, high) in enumerate(((0.0, 0.5), (1.0, 1.5))):
        inside = radius[data.labels == label]
        assert low <= float(inside.min()) and float(inside.max()) <= high
        share = (inside**dims - low**dims) / (high**dims - low**dims)
        assert abs(float(share.mean()) - 0.5) < 0.02 and abs(float(share.var()) - 1 / 12) < 0.005
    assert float(data.points.mean(0).abs().max()) < 0.05


def test_spheres_are_spheres():
    data = spheres(2000, dims=4, inner=0.5, outer=2.0, dtype=torch.float64)
    radius = data.points.norm(dim=1)
    for label, wanted in ((0, 0.5), (1, 2.0)):
        assert float((radius[data.labels == label] - wanted).abs().max()) < 1e-3


def test_gaussians_stand_in_a_ring_and_in_a_spiral():
    data = gaussians(N, dims=3, dtype=torch.float64)
    for label in range(7):
        points = data.points[data.labels == label]
        assert abs(float(points.mean(0).norm()) - 0.5) < 0.02 and abs(float(points.std(0).mean()) - 0.1) < 0.01
    data = gaussians_spiral(N, dtype=torch.float64)
    for label in range(7):
        points, far = data.points[data.labels == label], 1.0 - label * 0.8 / 6
        angle = torch.tensor(math.pi / 2 * (label + 1), dtype=torch.float64)
        centre = far * torch.stack((angle.cos(), angle.sin()))
        assert torch.allclose(points.mean(0), centre, atol=0.03)
        assert abs(float(points.std(0).mean()) - (0.3 - label * 0.2 / 6)) < 0.02


def test_the_flip_is_the_flip():
    data = crossing_trajectories(100)
    assert set(data.points.flatten().tolist()) == {-1.0, 1.0} and torch.equal(data.targets, -data.points)
    noisy = crossing_trajectories(1000, noise=0.1)
    assert torch.equal(noisy.targets, crossing_trajectories(1000).targets)
    assert abs(float((noisy.points + noisy.targets).std()) - 0.1) < 0.02
    assert [tensor.shape for tensor in data.dataset()[0]] == [(1,), (1,), ()]


class TestPeriodic:
    def test_it_is_a_sine_about_a_level(self):
        series = periodic(500, noise=0.0, dtype=torch.float64).series
        assert series.values.shape == (500, 100, 1) and bool((series.times == series.times[0]).all())
        assert float(series.times[0, 0]) == 0.0 and float(series.times.max()) <= 5.0
        level = series.values[:, :1]  # phases are 0 at the start
        assert float((series.values - level).abs().max()) <= 1.0 + 1e-12
        assert abs(float(level.mean()) - 1) < 0.02 and abs(float(level.std()) - 0.1) < 0.01

    def test_frequencies_are_in_their_range(self):
        series = periodic(200, frequency=(0.5, 0.5), noise=0.0, dtype=torch.float64).series
        level = series.values[:, :1, 0]
        assert torch.allclose(series.values[..., 0] - level, (math.pi * series.times).sin(), atol=1e-9)

    def test_noise_raises_all_but_the_first_value(self):
        clean, noisy = (periodic(100, noise=noise, dtype=torch.float64).series.values for noise in (0.0, 0.5))
        added = noisy - clean
        assert bool((added[:, 0] == 0).all()) and float(added[:, 1:].min()) > 0 and 0.4 < float(added.max()) <= 0.5

    def test_each_series_is_observed_at_times_of_its_own(self):
        few, all_ = periodic(20, observed=30).series, periodic(20).series
        assert few.times.shape == (20, 30) and not torch.equal(few.times[0], few.times[1])
        assert set(few.times.flatten().tolist()) <= set(all_.times[0].tolist())
        with pytest.raises(OptionError, match="observed=101; wanted at most points=100"):
            periodic(5, observed=101)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moons(noise=-1.0), r"noise=-1.0; wanted a finite number >= 0"),
        (lambda: moons(noise=math.nan), r"noise=nan; wanted a finite number >= 0"),
        (lambda: annuli(inner=(0.5, 0.1)), r"inner=\(0.5, 0.1\); wanted \(low, high\)"),
        (lambda: annuli(inner=0.5), r"inner=0.5; wanted a pair of numbers"),
        (lambda: annuli(inner=(-1.0, 0.1)), r"at least 0"),
        (lambda: annuli(share=1.5), r"share=1.5; wanted a number between 0 and 1"),
        (lambda: gaussians(dims=1), r"dims=1; wanted a whole number >= 2"),
        (lambda: spirals(turns=0.0), r"turns=0.0; wanted a finite number > 0"),
        (lambda: periodic(t1=-1.0), r"t1=-1.0; wanted a finite number > 0"),
    ],
)
def test_errors_say_what_was_wanted(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_every_toy_is_tested_here():
    toys = {name for name, module in torchdyn_datasets._HOME.items() if module.startswith("toy.")}
    assert toys == {make.__name__ for make in CLASSES} | {"periodic"}
