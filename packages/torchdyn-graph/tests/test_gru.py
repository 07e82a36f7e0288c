"""GCDEGRU: what is forecast depends on rows before, on nodes that are connected, and on nothing else."""

import shutil

import pytest
import torch

from torchdyn_core import Fixed, IrregularSeries, OptionError, ShapeError, solve
from torchdyn_graph import GCDEGRU, Graph, GraphGRUCell, GraphSequential
from torchdyn_graph.attention import GraphAttention

DTYPE = torch.float64
GRAPH = Graph(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), edge_weight=torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=DTYPE))
FIXED = {"solver": "rk4", "controller": Fixed(dt=0.05)}


@pytest.fixture
def series():
    draw = torch.Generator().manual_seed(0)
    times = torch.rand(3, 5, generator=draw, dtype=DTYPE).sort(1).values
    values = torch.randn(3, 5, 8, generator=draw, dtype=DTYPE)
    mask = torch.rand(3, 5, 8, generator=draw) > 0.4
    mask[:, 2] = False  # a row in which nothing is observed
    mask[1, 1] = False
    return IrregularSeries(times, values, mask)


def model(**options):
    torch.manual_seed(0)
    return GCDEGRU(2, 6, 2, **options).double()


def like(series, **changes):
    parts = {name: getattr(series, name) for name in ("times", "values", "mask", "lengths")}
    return IrregularSeries(**{**parts, **changes})


def test_rows_are_forecast_from_rows_before(series):
    values = series.values.clone().requires_grad_()
    out = model(**FIXED)(GRAPH, like(series, values=values))
    for row in range(5):
        (slope,) = torch.autograd.grad(out[:, row].sum(), values, retain_graph=True, allow_unused=True)
        seen = slope.abs().sum((0, 2)) > 0
        assert seen.tolist() == [earlier < row and earlier != 2 for earlier in range(5)]


def test_nodes_see_those_that_they_are_connected_with(series):
    values = series.values.clone().requires_grad_()
    out = model(**FIXED)(GRAPH, like(series, values=values, mask=torch.ones_like(series.mask)))
    (slope,) = torch.autograd.grad(out[:, -1, :2].sum(), values)
    per_node = slope.unflatten(2, (4, 2)).abs().sum((0, 1, 3))
    assert (per_node > 0).tolist() == [True, True, False, False]


STEPS = {"fixed": FIXED, "one step": {"solver": "euler", "controller": Fixed(steps=1)}, "adaptive": {}}


@pytest.mark.parametrize("options", STEPS.values(), ids=STEPS)
def test_a_series_in_a_batch_is_what_it_is_alone(series, options):
    series.mask[0, 3], series.mask[2, 0] = False, False  # rows of one that are not those of another
    together = model(**options)(GRAPH, series)
    for row in range(3):
        one = IrregularSeries(series.times[row : row + 1], series.values[row : row + 1], series.mask[row : row + 1])
        torch.testing.assert_close(model(**options)(GRAPH, one), together[row : row + 1], rtol=1e-12, atol=1e-14)


def test_it_is_a_jump_and_a_solve_and_a_jump_and_a_solve():
    made, mask = model(**FIXED), torch.ones(1, 4, 8, dtype=torch.bool)
    mask[0, 2] = False
    times = torch.tensor([[0.0, 0.3, 0.5, 1.1]], dtype=DTYPE)
    values = torch.randn(1, 4, 8, dtype=DTYPE, generator=torch.Generator().manual_seed(0))
    field, all_seen = made.ode.field.on(GRAPH), torch.ones(4, 2, dtype=DTYPE)

    def jumped(row, state):
        return made.cell(GRAPH, torch.cat((values[0, row].reshape(4, 2), all_seen), 1), state)

    start = torch.zeros(4, 6, dtype=DTYPE)
    first = solve(field, jumped(0, start), times[0, :2], **FIXED).ys[-1]
    rest = solve(field, jumped(1, first), times[0, 1:], **FIXED).ys[1:]
    want = made.decoder(torch.stack((start, first, *rest))).flatten(1)
    got = made(GRAPH, IrregularSeries(times, values, mask))[0]
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)


def test_what_is_not_observed_and_what_is_padded_changes_nothing(series):
    out = model(**FIXED)(GRAPH, series)
    other = like(series, values=series.values.where(series.mask, 1e9))
    torch.testing.assert_close(model(**FIXED)(GRAPH, other), out, rtol=0, atol=0)
    rows = list(zip(series.times, series.values, series.mask, strict=True))
    rows[0] = tuple(part[:4] for part in rows[0])
    padded = model(**FIXED)(GRAPH, IrregularSeries.collate(rows))
    torch.testing.assert_close(padded[0, :4], out[0, :4], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(padded[1:], out[1:], rtol=1e-12, atol=1e-14)


def test_rows_that_are_only_asked_for_change_no_others(series):
    """Steps are short enough that where they end does not matter."""
    options = {"solver": "rk4", "controller": Fixed(dt=0.01)}
    asked = model(**options)(GRAPH, series)
    kept = [0, 1, 3, 4]
    fewer = IrregularSeries(series.times[:, kept], series.values[:, kept], series.mask[:, kept])
    torch.testing.assert_close(model(**options)(GRAPH, fewer), asked[:, kept], rtol=1e-7, atol=1e-9)


def test_forecasts_behind_the_last_observation_follow_the_field(series):
    made = model(solver="rk4", controller=Fixed(dt=0.01))
    tail = series.mask.clone()
    tail[:, 2:] = False
    out = made(GRAPH, like(series, mask=tail))
    assert not torch.allclose(out[:, 3], out[:, 4])
    for weight in made.ode.parameters():
        torch.nn.init.zeros_(weight)
    still = made(GRAPH, like(series, mask=tail))
    torch.testing.assert_close(still[:, 2:], still[:, 2:3].expand(-1, 3, -1), rtol=1e-12, atol=1e-14)


def test_gradients_are_exact(series):
    def out(made, values):
        return made(GRAPH, like(series, values=values)).square().sum()

    values = series.values.clone().requires_grad_()
    steps = {"solver": "rk4", "controller": Fixed(steps=2)}
    made, other = model(**steps), model(adjoint="direct", **steps)
    assert torch.autograd.gradcheck(lambda values: out(made, values), values, fast_mode=True)
    ours = torch.autograd.grad(out(made, values), tuple(made.parameters()))
    theirs = torch.autograd.grad(out(other, values), tuple(other.parameters()))
    for one, two in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_the_field_may_be_any_network_of_a_graph(series):
    made = model(net=GraphSequential(GraphAttention(6, 3, 2), torch.nn.Tanh()), **FIXED)
    assert made(GRAPH, series).shape == (3, 5, 8)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiling needs a C++ compiler")
def test_it_compiles(series):
    eager, compiled = (model(compile=compile, **FIXED)(GRAPH, series) for compile in (False, "require"))
    torch.testing.assert_close(compiled, eager, rtol=1e-10, atol=1e-12)


def test_a_learned_edge_weight_gets_its_gradient(series):
    weight = GRAPH.edge_weight.clone().requires_grad_()
    graph = Graph(GRAPH.edge_index, 4, weight)
    with torch.no_grad():
        model(**FIXED)(graph, series)
    for _ in range(2):  # nothing of an earlier call is kept that a later one could not differentiate
        (slope,) = torch.autograd.grad(model(**FIXED)(graph, series).sum(), weight)
        assert (slope != 0).all()


def test_no_rows_are_no_forecasts():
    none = IrregularSeries(torch.zeros(2, 0, dtype=DTYPE), torch.zeros(2, 0, 8, dtype=DTYPE))
    assert model()(GRAPH, none).shape == (2, 0, 8)
    nobody = IrregularSeries(torch.zeros(0, 3, dtype=DTYPE), torch.zeros(0, 3, 8, dtype=DTYPE))
    assert model()(GRAPH, nobody).shape == (0, 3, 8)


def test_what_does_not_fit_is_refused(series):
    with pytest.raises(ShapeError, match="4 nodes with 3 values each"):
        GCDEGRU(3, 6, 2)(GRAPH, series)
    with pytest.raises(ShapeError, match="5 nodes with 2 values each"):
        model()(Graph(GRAPH.edge_index, 5), series)
    for name in ("t0", "t1", "augmentation", "save", "per_sample"):
        with pytest.raises(OptionError, match=name):
            GCDEGRU(2, 6, 2, **{name: None})
    with pytest.raises(OptionError, match="in_dim=0"):
        GCDEGRU(0, 6, 2)
    with pytest.raises(ShapeError, match="row for each"):
        GraphGRUCell(2, 4)(GRAPH, torch.ones(4, 2), torch.ones(3, 4))
