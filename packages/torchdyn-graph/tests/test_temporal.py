"""Graphs whose edges change."""

import pytest
import torch
from torch import nn

from torchdyn_core import PID, IncompatibleError, ShapeError, solve
from torchdyn_graph import (
    DiffusionField,
    Graph,
    GraphConv,
    GraphDiffusion,
    GraphField,
    GraphSequential,
    OscillatorField,
    TemporalGraph,
)

DTYPE = torch.float64
PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
TIGHT = PID(rtol=1e-9, atol=1e-9)


def graphs():
    return [Graph(PATH, 3), Graph(PATH[:, :2], 3), Graph(PATH[:, 2:], 3)]


def net():
    torch.manual_seed(0)
    return GraphSequential(GraphConv(2, 4), nn.Tanh(), GraphConv(4, 2)).double()


@pytest.mark.parametrize("kind", [GraphField, OscillatorField])
def test_a_solve_is_one_on_each_graph_after_the_other(kind):
    times, width = [0.0, 0.3, 0.7], 2 if kind is GraphField else 4
    y0 = torch.randn(3, width, dtype=DTYPE)
    field = kind(net(), TemporalGraph(torch.tensor(times), graphs()))
    solution = solve(field, y0, [0.0, 1.0], controller=TIGHT)
    y = y0
    for graph, start, end in zip(graphs(), times, [*times[1:], 1.0], strict=True):
        span = torch.tensor([start, end]).double()  # rounded as the times of the graphs are
        y = solve(field.on(graph), y, span, controller=TIGHT).ys[-1]
    torch.testing.assert_close(solution.ys[-1], y, rtol=1e-7, atol=1e-8)
    backwards = solve(field, solution.ys[-1], [1.0, 0.0], controller=TIGHT).ys[-1]
    torch.testing.assert_close(backwards, y0, rtol=1e-6, atol=1e-6)


def test_each_side_of_a_change_has_its_graph_in_single_precision_too():
    """dx/dt tells which graph it is: its number of edges."""

    class Count(nn.Module):
        def forward(self, graph, x):
            return torch.full_like(x, float(graph.num_edges))

    field = GraphField(Count(), TemporalGraph([0.0, 0.1, 0.7], graphs()))
    end = solve(field, torch.zeros(3, 1), [0.0, 1.0]).ys[-1]
    torch.testing.assert_close(end, torch.full((3, 1), 4 * 0.1 + 2 * 0.6 + 2 * 0.3))


def test_diffusion_follows_the_edges_unless_it_is_linear():
    """Nodes that no edge reaches keep what they have."""
    torch.manual_seed(0)
    changing = TemporalGraph([0.0, 0.5], graphs()[1:])
    field, y0 = (
        DiffusionField(GraphDiffusion(2).double(), changing, linear=False).double(),
        torch.randn(3, 2, dtype=DTYPE),
    )
    half, end = solve(field, y0, [0.0, 0.5, 1.0], controller=TIGHT).ys[1:]
    assert torch.equal(half[2], y0[2]) and not torch.equal(half[0], y0[0])
    torch.testing.assert_close(end[0], half[0])
    assert not torch.equal(end[2], half[2])
    with pytest.raises(IncompatibleError, match=r"edges that change.*wanted linear=False"):
        solve(DiffusionField(GraphDiffusion(2).double(), changing), y0, [0.0, 1.0])


def test_it_moves_with_its_field():
    field = GraphField(net(), TemporalGraph([0.0, 0.5], [Graph(PATH, 3, torch.ones(4)), Graph(PATH, 3, torch.ones(4))]))
    assert field.float().graph.graphs[1].edge_weight.dtype == torch.float32
    assert field.double().graph.at(torch.tensor(0.9)).edge_weight.dtype == DTYPE


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"\(1,\) times and 3 graphs"):
        TemporalGraph([0.0], graphs())
    with pytest.raises(ShapeError, match="wanted finite ones that rise"):
        TemporalGraph([0.0, 1.0, 1.0], graphs())
    with pytest.raises(ShapeError, match=r"graphs have \[3, 4\] nodes"):
        TemporalGraph([0.0, 1.0], [Graph(PATH, 3), Graph(PATH, 4)])
    field = GraphField(net(), TemporalGraph([0.0, 0.3, 0.7], graphs()))
    with pytest.raises(IncompatibleError, match="all nodes see the edges of one time"):
        solve(field, torch.ones(3, 2, dtype=DTYPE), [0.0, 1.0], per_sample=True)
    with pytest.raises(ShapeError, match="for a graph of 3 nodes"):
        solve(field, torch.ones(4, 2, dtype=DTYPE), [0.0, 1.0])


@pytest.mark.parametrize("kind", ["GCDE", "GRAND", "GraphCON"])
def test_models_take_edges_that_change(kind):
    from torchdyn_graph import GCDE, GRAND, GraphCON

    torch.manual_seed(0)
    make = {
        "GCDE": GCDE,
        "GraphCON": GraphCON,
        "GRAND": lambda *sizes, **options: GRAND(*sizes, linear=False, **options),
    }[kind]
    tight = {"controller": PID(rtol=1e-8, atol=1e-8)}
    model, x = make(2, 4, 2, **tight).double(), torch.randn(3, 2, dtype=torch.float64)
    edges = torch.tensor([[0, 1], [1, 0]])
    first, second = Graph(edges, 3), Graph(edges + 1, 3)
    same = model(TemporalGraph(torch.tensor([0.0, 0.5]), [first, first]), x)
    torch.testing.assert_close(same, model(first, x), rtol=1e-6, atol=1e-7)
    changed = model(TemporalGraph(torch.tensor([0.0, 0.5]), [first, second]), x)
    assert not torch.allclose(changed, same, atol=1e-3)
    changed.sum().backward()
