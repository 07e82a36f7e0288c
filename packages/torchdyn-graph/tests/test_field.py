"""Networks on graphs as vector fields."""

import copy
import shutil

import pytest
import torch
from torch import nn

from torchdyn_core import Fixed, IncompatibleError, NeuralODE, ShapeError, solve
from torchdyn_core.testing import FieldSuite
from torchdyn_graph import Graph, GraphAttention, GraphConv, GraphDiffusion, GraphField, GraphSequential

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])


def net(channels=2):
    torch.manual_seed(0)
    return GraphSequential(GraphConv(channels, 4), nn.Tanh(), GraphConv(4, channels))


class TestGraphField(FieldSuite):
    def make(self):
        return GraphField(net(), Graph(EDGES, 4))

    expected_failures = {  # noqa: RUF012 - a suite's own way
        "test_rows_do_not_know_each_other": "nodes are rows, and neighbours know each other",
    }


def test_graphs_in_a_batch_step_as_they_do_alone():
    graphs = [Graph(EDGES, 4), Graph(EDGES[:, :4], 3)]
    both, x = Graph.batched(graphs), torch.randn(7, 2, dtype=torch.float64)
    field = GraphField(net().double(), both)
    together = solve(field, x, [0.0, 1.0], per_sample=both.batch).ys[-1]
    for graph, rows in zip(graphs, (slice(0, 4), slice(4, 7)), strict=True):
        alone = solve(field.on(graph), x[rows], [0.0, 1.0]).ys[-1]
        torch.testing.assert_close(together[rows], alone, rtol=1e-10, atol=1e-10)


def test_layers_are_taken_from_every_form_of_a_graph():
    x, layers = torch.randn(4, 2), net()
    want = layers(Graph(EDGES, 4), x)

    class Data:
        edge_index = EDGES
        num_nodes = 4

    for graph in (EDGES, Data()):
        assert torch.equal(layers(graph, x), want)
        torch.testing.assert_close(GraphField(layers, graph)(torch.tensor(0.0), x), want)
    with pytest.raises(IncompatibleError, match="graph is a str; wanted a Graph"):
        layers("graph", x)


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed"])
def test_weights_of_edges_are_learned(adjoint):
    weight = torch.rand(6, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 2, dtype=torch.float64)
    layers = GraphSequential(GraphConv(2, 4), nn.Tanh(), GraphConv(4, 2)).double()

    def end(weight):
        field = GraphField(layers, Graph(EDGES, 4, weight))
        return solve(field, x, [0.0, 1.0], solver="rk4", controller=Fixed(steps=3), adjoint=adjoint).ys[-1]

    assert torch.autograd.gradcheck(end, weight)


def test_it_moves_with_its_graph():
    weight = torch.rand(6)
    field = GraphField(net(), Graph(EDGES, 4, weight)).double()
    assert field.graph.edge_weight.dtype == torch.float64
    assert NeuralODE(field)(torch.randn(4, 2, dtype=torch.float64)).dtype == torch.float64
    assert field.to("meta").graph.device.type == "meta"
    twin = copy.deepcopy(GraphField(net(), Graph(EDGES, 4)))
    assert set(twin.state_dict()) == set(net_state())


def net_state():
    return {f"net.{name}" for name in net().state_dict()}


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"node features are \(3, 2\) for a graph of 4 nodes"):
        solve(GraphField(net(), Graph(EDGES, 4)), torch.ones(3, 2), [0.0, 1.0])
    with pytest.raises(IncompatibleError, match="has no graph: wanted"):
        solve(GraphField(net()), torch.ones(3, 2), [0.0, 1.0])
    with pytest.raises(IncompatibleError, match="net is 3"):
        GraphField(3)


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler")
def test_it_compiles():
    """A net of every layer, on a graph with weights."""
    torch.manual_seed(0)
    layers = GraphConv(2, 4), nn.Tanh(), GraphAttention(4, 2, 2), GraphDiffusion(4, 4, 2), GraphConv(4, 2)
    field, x = GraphField(GraphSequential(*layers), Graph(EDGES, 4, torch.rand(6))), torch.randn(4, 2)

    def outcome(compile):
        layer = NeuralODE(field, solver="euler", controller=Fixed(steps=4), compile=compile)
        y0 = x.clone().requires_grad_()
        out = layer(y0)
        return [out, *torch.autograd.grad(out.square().sum(), [y0, *layer.parameters()])]

    for a, b in zip(outcome("require"), outcome(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("adjoint", ["checkpointed", "direct"])
def test_weights_that_something_computed_pass_their_gradient_on(adjoint):
    length = torch.linspace(0.5, 1.5, 6, dtype=torch.float64)
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def end(scale):
        field = GraphField(net().double(), Graph(EDGES, 4, torch.exp(-scale * length)))
        return solve(field, x, [0.0, 1.0], solver="rk4", controller=Fixed(steps=2), adjoint=adjoint).ys[-1]

    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(end, scale)
    assert torch.autograd.grad(end(scale).sum(), scale)[0] != 0


class TestLearnedWeights:
    def test_a_parameter_is_the_fields_own(self):
        weight = nn.Parameter(torch.ones(6))
        field = GraphField(net(), Graph(EDGES, 4, weight))
        assert any(parameter is weight for parameter in field.parameters()) and "edge_weight" in field.state_dict()
        layer = NeuralODE(field, solver="rk4", controller=Fixed(steps=2))
        before, optimizer = layer(torch.ones(4, 2)), torch.optim.SGD(layer.parameters(), lr=0.1)
        before.square().sum().backward()
        optimizer.step()
        assert (weight != 1).all()
        for copied in (copy.deepcopy(layer), layer):
            torch.testing.assert_close(copied(torch.ones(4, 2)), layer(torch.ones(4, 2)))
        fresh = GraphField(net(), Graph(EDGES, 4, weight.detach().clone()))
        fresh.load_state_dict({key: value for key, value in field.state_dict().items() if key != "edge_weight"})
        torch.testing.assert_close(
            fresh(torch.tensor(0.0), torch.ones(4, 2)), field(torch.tensor(0.0), torch.ones(4, 2))
        )

    @pytest.mark.parametrize("kind", ["leaf", "computed", "parameter"])
    def test_a_field_changes_its_dtype_with_them(self, kind):
        leaf = torch.ones(6, requires_grad=True)
        weight = {"leaf": leaf, "computed": 2 * leaf, "parameter": nn.Parameter(torch.ones(6))}[kind]
        field = GraphField(net(), Graph(EDGES, 4, weight)).double()
        x, steps = torch.ones(4, 2, dtype=torch.float64), {"solver": "rk4", "controller": Fixed(steps=2)}
        wanted = field.edge_weight if kind == "parameter" else leaf
        grads = [
            torch.autograd.grad(
                solve(field, x, [0.0, 1.0], adjoint=adjoint, **steps).ys.sum(), wanted, retain_graph=True
            )[0]
            for adjoint in ("checkpointed", "direct")
        ]
        torch.testing.assert_close(*grads)
        assert grads[0].any()
