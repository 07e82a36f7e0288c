"""The law of Brownian paths, and that they are functions of seed and interval."""

import itertools
import math

import pytest
import torch
from scipy import stats

from torchdyn_core import Fixed, IncompatibleError, OptionError, ShapeError, solve
from torchdyn_core.testing import PathSuite
from torchdyn_sde import BrownianPath, EulerMaruyama, SDEField
from torchdyn_sde.brownian import AREAS
from torchdyn_sde.elementwise import Tensors
from torchdyn_sde.multiwavelets import products

D = torch.float64
GRIDS = [None, 7, 0.13, [0.0, 0.2, 0.25, 0.7, 1.0]]
SCALES = (1.0, -math.sqrt(1 / 12), math.sqrt(1 / 720))


def path(rows=4, **options):
    return BrownianPath(0.0, 1.0, (rows, 3), **{"seed": 1, "dtype": D, **options})


def at(*times):
    return [torch.tensor(t, dtype=D) for t in times]


def standard(found, a, b):
    """What Legendre polynomials on the interval make of the noise: independent standard normal numbers."""
    root = (b - a).abs().sqrt()
    parts = [part for part in found if part is not None]
    return torch.stack([part / (scale * root) for part, scale in zip(parts, SCALES, strict=False)])


class TestTree(PathSuite):
    def make(self):
        return path()


class TestGrid(PathSuite):
    def make(self):
        return path(grid=10, area="space-time")


class TestRows(PathSuite):
    t0, t1 = 2.0, -1.0

    def make(self):
        return BrownianPath(2.0, -1.0, (4, 3), seed=torch.arange(4), dtype=D)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("area", AREAS)
def test_increments_and_areas_are_normal_and_independent(area, grid):
    many = BrownianPath(0.0, 1.0, (120_000,), seed=3, dtype=D, area=area, grid=grid)
    cuts = at(0.0, 0.001, 0.19, 0.3000007, 0.86, 1.0)
    found = torch.cat([standard(many.increment(a, b), a, b) for a, b in itertools.pairwise(cuts)])
    for numbers in found:
        assert stats.kstest(numbers.numpy(), "norm").pvalue > 1e-4
    count = len(found)
    # of independent numbers correlations are of size 1 / sqrt(120000) = 0.0029, and the largest of a hundred of 0.01
    assert (torch.corrcoef(found) - torch.eye(count)).abs().max() < 0.015
    assert (torch.corrcoef(found.square()) - torch.eye(count)).abs().max() < 0.015


@pytest.mark.parametrize("area", AREAS)
def test_bridges(area):
    """Given the increment of the whole, that of a part is normal with the bridge's mean and variance."""
    many = BrownianPath(0.0, 1.0, (100_000,), seed=8, dtype=D, area=area)
    a, b, c = at(0.1, 0.37, 0.8)
    part, whole = many(a, b), many(a, c)
    share = float((b - a) / (c - a))
    left = part - share * whole
    assert stats.kstest((left / math.sqrt(share * (1 - share) * 0.7)).numpy(), "norm").pvalue > 1e-3
    assert abs(float(torch.corrcoef(torch.stack((left, whole)))[0, 1])) < 0.015


@pytest.mark.parametrize("levels", [3, 10, 16])
@pytest.mark.parametrize("area", AREAS)
def test_chens_relation(area, levels):
    """Increment and areas of two intervals, one behind the other, make those of both together, to rounding."""
    torch.manual_seed(0)
    rows, count = 2000, AREAS.index(area) + 1
    one = BrownianPath(0.0, 1.0, (rows,), seed=3, dtype=D, area=area, levels=levels)
    a, b, c = torch.rand(3, rows, dtype=D).sort(0).values
    together = standard(one.increment(a, c), a, c)
    added = torch.zeros_like(together)
    for low, high in ((a, b), (b, c)):
        own, shares = standard(one.increment(low, high), low, high), (low, high - low)
        shared = products(Tensors, shares, shares, (a, c - a), count)
        for k in range(count):
            added[k] += sum(shared[i][k] * own[i] for i in range(count))
    # intervals within one leaf know their increment alone
    leaf = (torch.stack((a, b, c)) * 2**levels).floor()
    apart = (leaf.diff(dim=0) != 0).all(0)
    assert apart.sum() > rows // 3
    torch.testing.assert_close(added[:, apart], together[:, apart], rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(added[0], together[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("grid", GRIDS)
def test_values_depend_on_nothing_else(grid):
    torch.manual_seed(0)
    one, other = path(grid=grid), path(grid=grid)
    intervals = torch.rand(20, 2, dtype=D)
    first = [one(a, b) for a, b in intervals]
    torch.manual_seed(5)
    again = [other(a, b) for a, b in intervals.flip(0)][::-1]
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))
    assert not torch.equal(first[0], path(grid=grid, seed=2)(*intervals[0]))


@pytest.mark.parametrize("area", AREAS)
def test_compiled_values(area):
    one, count = path(area=area), AREAS.index(area) + 1
    compiled = torch.compile(lambda a, b: tuple(one.increment(a, b)[:count]), fullgraph=True)
    for a, b in ((0.1, 0.2), (0.0, 1.0), (0.7, 0.3)):
        for got, want in zip(compiled(*at(a, b)), one.increment(*at(a, b)), strict=False):
            torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_both_dtypes_see_the_same_path():
    single = path(dtype=torch.float32)(*at(0.2, 0.7))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), path()(*at(0.2, 0.7)), rtol=1e-4, atol=1e-5)


def test_rows_with_seeds_of_their_own_do_not_depend_on_their_company():
    seeds = torch.tensor([5, 7, 11])
    every, few = path(3, seed=seeds), path(2, seed=seeds[1:])
    assert torch.equal(every(*at(0.1, 0.4))[1:], few(*at(0.1, 0.4)))
    assert not torch.equal(*every(*at(0.1, 0.4))[:2])
    own = torch.tensor([0.1, 0.2, 0.3], dtype=D), torch.tensor([0.9, 0.25, 0.31], dtype=D)
    assert torch.equal(every(*own)[1:], few(own[0][1:], own[1][1:]))


def test_rows_may_have_spans_of_their_own():
    t0, t1 = torch.tensor([0.0, 3.0], dtype=D), torch.tensor([1.0, 1.0], dtype=D)
    both = BrownianPath(t0, t1, (2, 3), seed=1, dtype=D)
    parts = both(t0, torch.tensor([0.5, 2.0], dtype=D)) + both(torch.tensor([0.5, 2.0], dtype=D), t1)
    torch.testing.assert_close(parts, both(t0, t1))
    assert torch.equal(both(t0, t1)[0], BrownianPath(0.0, 1.0, (2, 3), seed=1, dtype=D)(*at(0.0, 1.0))[0])


def test_antithetic_rows():
    mirrored = path(6, antithetic=True, area="space-time-time")
    for part in mirrored.increment(*at(0.2, 0.5)):
        torch.testing.assert_close(part[:3], -part[3:], rtol=1e-13, atol=0.0)
        assert bool(part.all())
    seeded = path(6, antithetic=True, seed=torch.arange(6))
    torch.testing.assert_close(seeded(*at(0.2, 0.5))[:3], -seeded(*at(0.2, 0.5))[3:], rtol=1e-13, atol=0.0)


def test_trees_of_noise():
    tree = BrownianPath(0.0, 1.0, {"a": (4, 3), "b": (4,)}, seed=1, dtype=D, area="space-time")
    found = tree.increment(*at(0.1, 0.6))
    assert {name: leaf.shape for name, leaf in found.h.items()} == {"a": (4, 3), "b": (4,)}
    assert torch.equal(found.w["a"], path(area="space-time")(*at(0.1, 0.6)))
    assert not torch.equal(found.w["b"], found.w["a"][:, 0])


def test_shapes_without_axes():
    assert BrownianPath(0.0, 1.0, (), seed=1)(*at(0.0, 1.0)).shape == ()
    assert BrownianPath(0.0, 1.0, (0, 3), seed=1)(*at(0.0, 1.0)).shape == (0, 3)


def test_long_intervals_take_whole_cells_in():
    fine = path(grid=50)
    cuts = torch.linspace(0.013, 0.987, 40, dtype=D)
    parts = sum(fine(a, b) for a, b in itertools.pairwise(cuts))
    torch.testing.assert_close(fine(cuts[0], cuts[-1]), parts, rtol=1e-10, atol=1e-12)


def test_a_solve_on_the_grid_sees_the_path():
    """Where each step is a cell, steps are known by where they begin; that changes no value."""
    from torchdyn_sde.brownian import Plan

    for grid, steps in ((10, Fixed(steps=10)), (0.1, Fixed(dt=0.1)), ([0.0, 0.3, 1.0], Fixed(grid=[0.0, 0.3, 1.0]))):
        one = path(grid=grid, area="space-time")
        begun = one.begun(*at(0.0, 1.0), Plan("none", steps), True)
        assert begun._start_keyed and not one._start_keyed
        a, b = (0.0, 0.3) if isinstance(grid, list) else (0.3, 0.4)
        for got, want in zip(begun.increment(*at(a, b)), one.increment(*at(a, b)), strict=True):
            if want is not None:
                torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
        others = (
            Fixed(steps=1),
            Fixed(steps=9),
            Fixed(dt=0.07),
            Fixed(steps=10, jump_ts=[0.05]),
            Fixed(grid=[0.0, 0.1, 1.0]),
        )
        for other in others:  # some of whose steps begin at borders, and end at others than the next
            assert not one.begun(*at(0.0, 1.0), Plan("none", other), True)._start_keyed


def test_moving_a_path_keeps_its_times_and_its_seed():
    one = path(seed=2**53 + 1)
    moved = path(seed=2**53 + 1).to(torch.float32).half()
    assert moved.t0.dtype == D and moved.seed.dtype == torch.int64
    assert torch.equal(moved(*at(0.1, 0.2)), one(*at(0.1, 0.2)))
    other = path(seed=0)
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(*at(0.1, 0.2)), one(*at(0.1, 0.2)))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"dtype": torch.float16}, OptionError, "torch.float32 or torch.float64"),
        ({"area": "levy"}, OptionError, "space-time-time"),
        ({"levels": 0}, OptionError, "1 to"),
        ({"seed": 0.5}, OptionError, "whole numbers"),
        ({"seed": torch.arange(3)}, ShapeError, "one for each of 4 rows"),
        ({"grid": 0}, OptionError, "above 0"),
        ({"grid": "fine"}, OptionError, "borders"),
        ({"grid": [0.0, 0.5, 0.4]}, OptionError, "strictly"),
        ({"rows": 3, "antithetic": True}, OptionError, "even"),
        ({"seeds": 3}, TypeError, "seeds"),
    ],
)
def test_bad_options(options, error, says):
    with pytest.raises(error, match=says):
        path(**options)


def test_bad_shapes_and_times():
    with pytest.raises(ShapeError, match="sizes"):
        BrownianPath(0.0, 1.0, "four", seed=1)
    with pytest.raises(ShapeError, match="t1 has shape"):
        BrownianPath(0.0, torch.zeros(3), (4, 3), seed=1)
    for a, b in ((-0.1, 0.5), (0.5, 1.1)):
        with pytest.raises(ShapeError, match="known from 0 to 1"):
            path()(*at(a, b))
    with pytest.raises(IncompatibleError, match="space-time areas"):
        from torchdyn_sde.brownian import Plan

        path().begun(*at(0.0, 1.0), Plan("space-time", None), True)


def test_mirrored_rows_with_times_of_their_own_mirror_their_own_times():
    mirrored = path(antithetic=True)
    ends = torch.tensor([0.3, 0.5, 0.7, 0.9], dtype=D)
    found = mirrored(torch.zeros(4, dtype=D), ends)
    for row, end in enumerate(ends):
        torch.testing.assert_close(found[row], mirrored(*at(0.0), end)[row], rtol=1e-12, atol=1e-13)


def test_a_path_that_is_loaded_forgets_what_was_drawn():
    one, other = path(seed=1, grid=4), path(seed=2, grid=4)
    assert not torch.equal(one(*at(0.0, 0.25)), other(*at(0.0, 0.25)))
    one.load_state_dict(other.state_dict())
    assert torch.equal(one(*at(0.0, 0.25)), other(*at(0.0, 0.25)))


@pytest.mark.parametrize("steps", [Fixed(steps=10), Fixed(dt=0.1), Fixed(steps=100), Fixed(steps=5)])
def test_steps_on_borders_that_are_listed_see_the_path_that_is_asked_about(steps):
    borders = path(grid=torch.linspace(0.0, 1.0, 11, dtype=D))
    field = SDEField(lambda t, y: 0.0 * y, lambda t, y: torch.ones_like(y)).driven_by(borders)
    end = solve(field, torch.zeros(4, 3, dtype=D), [0.0, 1.0], solver=EulerMaruyama(), controller=steps).ys[-1]
    torch.testing.assert_close(end, borders(*at(0.0, 1.0)), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("grid", [16, [0.0, 0.05, 0.1, 0.3, 0.35, 0.4, 0.6, 1.0]])
def test_compiled_intervals_may_span_cells(grid):
    fine = path(grid=grid)
    field = SDEField(lambda t, y: 0.0 * y, lambda t, y: torch.ones_like(y)).driven_by(fine)
    options = {"solver": EulerMaruyama(), "controller": Fixed(steps=3), "compile": "require"}
    end = solve(field, torch.zeros(4, 3, dtype=D), [0.0, 1.0], **options).ys[-1]
    torch.testing.assert_close(end, fine(*at(0.0, 1.0)), rtol=1e-11, atol=1e-12)


def test_a_step_size_that_is_a_whole_number_is_no_number_of_cells():
    ends = []
    for dt in (1, 1.0):
        torch.manual_seed(0)
        field = SDEField(lambda t, y: 0.0 * y, lambda t, y: torch.ones_like(y))
        ends.append(solve(field, torch.zeros(3), [0.0, 4.0], solver=EulerMaruyama(), controller=Fixed(dt=dt)).ys[-1])
    assert torch.equal(*ends)
