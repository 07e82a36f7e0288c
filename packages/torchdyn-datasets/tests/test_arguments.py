"""What generators are given: every number is looked at, numpy's are numbers too, and no dtype cuts the data off."""

import inspect
import math
import types

import numpy as np
import pytest
import torch

import torchdyn_datasets
from torchdyn_core import OptionError, TorchdynError
from torchdyn_datasets import (
    Points,
    Series,
    annuli,
    double_ornstein_uhlenbeck,
    geometric_brownian_motion,
    lotka_volterra,
    moons,
    ornstein_uhlenbeck,
    robertson,
    stochastic_brusselator,
    stochastic_lorenz,
    van_der_pol,
)
from torchdyn_datasets.batches import ImageDataset

GENERATORS = {
    name: getattr(torchdyn_datasets, name)
    for name, home in torchdyn_datasets._HOME.items()
    if home.startswith(("toy.", "systems.")) and isinstance(getattr(torchdyn_datasets, name), types.FunctionType)
}
SPORADIC = (double_ornstein_uhlenbeck, stochastic_brusselator)


def small(make, **changes):
    """A few of the data, so that they are made at once."""
    wanted = {"n": 3, "steps": 5, "t1": 0.5, "observed": 3, **({"rate": None} if make in SPORADIC else {})}
    known = inspect.signature(make).parameters
    return make(**{**{name: value for name, value in wanted.items() if name in known}, **changes})


def content(record):
    if isinstance(record, Series):
        return record.series.values
    return record.points if isinstance(record, Points) else record.values


def numbers(kind):
    """Pairs of a generator and one of its arguments whose default is of a kind."""
    return [
        pytest.param(make, parameter.name, id=f"{name}-{parameter.name}")
        for name, make in GENERATORS.items()
        for parameter in inspect.signature(make).parameters.values()
        if type(parameter.default) is kind
    ]


OPTIONAL = [
    pytest.param(make, parameter.name, id=f"{name}-{parameter.name}")
    for name, make in GENERATORS.items()
    for parameter in inspect.signature(make).parameters.values()
    if parameter.default is None
]


def test_all_generators_are_here():
    assert len(GENERATORS) == 29 and len(numbers(float)) > 60 and len(numbers(int)) > 60 and len(OPTIONAL) == 2


@pytest.mark.parametrize(("make", "name"), [*numbers(float), *numbers(int), *OPTIONAL])
def test_what_is_no_number_is_refused(make, name):
    for wrong in ("a", math.nan, math.inf, [1.0], True, 10**400, torch.ones(2), 1j):
        with pytest.raises(OptionError, match=f"^{name}=.*; wanted "):
            make(**{name: wrong})


@pytest.mark.parametrize(("make", "name"), numbers(tuple))
def test_what_is_no_pair_is_refused(make, name):
    for wrong in ("ab", 0.5, (0.5,), (0.1, 0.2, 0.3), (math.nan, 1.0), (0.1, math.inf), ("a", "b"), None):
        with pytest.raises(OptionError, match=f"^{name}=.*; wanted "):
            make(**{name: wrong})


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_no_dtype_cuts_the_data_off(make):
    for dtype in (torch.int64, torch.uint8, torch.complex64, torch.bool):
        with pytest.raises(TorchdynError, match=rf"{dtype}; wanted (one of )?real floating-point numbers"):
            small(make, dtype=dtype)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_numbers_of_numpy_are_numbers(make):
    defaults = {parameter.name: parameter.default for parameter in inspect.signature(make).parameters.values()}
    kinds = {int: np.int64, float: np.float64}
    given = {name: kinds[type(value)](value) for name, value in defaults.items() if type(value) in kinds}
    kept = {name: value for name, value in given.items() if name not in ("n", "steps", "t1", "rate") or name == "n"}
    found, wanted = small(make, **{**kept, "n": np.int32(3)}), small(make)
    assert content(found).dtype is torch.float32 and torch.equal(content(found), content(wanted))


@pytest.mark.parametrize("seed", [1 << 64, -(1 << 63) - 1, "a", 0.5, None, True])
def test_a_seed_is_a_whole_number_of_64_bits(seed):
    with pytest.raises(OptionError, match="wanted a whole number of at most 64 bits"):
        moons(3, seed=seed)


def test_means_are_any_pair():
    for means in ((-1.0, 1.0), (1.0, 1.0), [2.0, -3.0]):
        series = double_ornstein_uhlenbeck(5, means=means, width=0.0, sigma=0.0, rate=None).series
        assert torch.allclose(series.values[:, -1], torch.tensor(means, dtype=torch.float32), atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lotka_volterra(3, start=(-1.0, -0.5)), r"start=\(-1\.0, -0\.5\); wanted .* at least 0"),
        (lambda: robertson(spread=1.5), r"spread=1\.5; wanted a number between 0 and 1"),
        (lambda: stochastic_lorenz(strength=(0.1, 0.2)), r"strength=\(0\.1, 0\.2\); wanted 3 numbers, all finite"),
        (lambda: stochastic_lorenz(strength=(0.1, 0.2, -0.3)), r"strength=.*each at least 0"),
        (lambda: stochastic_lorenz(strength=(0.1, 0.2, math.nan)), r"strength=.*; wanted 3 numbers, all finite"),
        (lambda: stochastic_lorenz(strength="abc"), r"strength='abc'; wanted 3 numbers"),
        (lambda: ornstein_uhlenbeck(t1=1.0, dt=1e-12), r"dt=1e-12 makes 1e\+12 steps of t1=1\.0; wanted at"),
        (lambda: ornstein_uhlenbeck(substeps=10**6), r"substeps=1000000 makes 100000000 steps in all; wanted at most"),
        (lambda: ImageDataset(torch.zeros(1, 1, 2, 2), torch.zeros(1), 0.0, "a"), r"std='a'; wanted a finite number >"),
        (lambda: ImageDataset(torch.zeros(1, 1, 2, 2), torch.zeros(1), "a"), r"mean='a'; wanted a finite number"),
        (lambda: moons(10).divide("a"), r"share='a'; wanted a number between 0 and 1"),
    ],
)
def test_values_that_make_no_sense_are_refused(call, message):
    with pytest.raises(OptionError, match=message):
        call()


def test_values_that_make_sense_are_taken():
    assert bool((lotka_volterra(3, start=(0.0, 0.0)).values == 0).all())
    assert bool((robertson(50, spread=1.0, t1=0.01, steps=3).values[:, 0] >= 0).all())
    assert torch.equal(stochastic_lorenz(2, strength=[0.1] * 3).values, stochastic_lorenz(2, strength=0.1).values)
    assert bool(van_der_pol(2, mu=-1.0, t1=0.5).values.isfinite().all())
    falling = geometric_brownian_motion(5, mu=-2.0, sigma=0.0, start=-1.0, spread=0.0, noise=0.0).values
    assert torch.allclose(falling[:, -1], torch.tensor(-math.exp(-2.0)), rtol=0.01)


@pytest.mark.parametrize("dims", [400, 1500, 100_000])
def test_annuli_are_right_where_powers_of_a_radius_vanish(dims):
    data = annuli(40, dims=dims, inner=(0.2, 0.5), outer=(1.0, 1.5), dtype=torch.float64)
    radius = data.points.norm(dim=1)
    for label, high in ((0, 0.5), (1, 1.5)):
        # nearly all of a ball's volume is at its surface: the share within a radius is its dims-th power
        share = dims * (radius[data.labels == label] / high).log()
        assert bool((share <= 1e-9).all()) and -2.5 < float(share.mean()) < -0.4  # minus an exponential variable
    assert bool(annuli(9, dims=dims, inner=(0.0, 0.0)).points.isfinite().all())
