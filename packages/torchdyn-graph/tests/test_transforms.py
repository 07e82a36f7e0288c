"""Layers, and solves with them, under everything that looks at a computation from outside."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from torchdyn_core import Fixed, NeuralODE, autonomous, solve
from torchdyn_graph import (
    GCDE,
    GCDEGRU,
    GRAND,
    Graph,
    GraphAttention,
    GraphCON,
    GraphConv,
    GraphDiffusion,
    GraphField,
    dirichlet_energy,
)

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3], [1, 0, 2, 1, 3, 2, 3]])
LAYERS = {
    "convolution": lambda: GraphConv(2, 2, own=True),
    "attention": lambda: GraphAttention(2, 1, 2),
    "diffusion": lambda: GraphDiffusion(2, 4, 2),
}
STEPS = {"solver": "rk4", "controller": Fixed(steps=2)}


def made(kind):
    torch.manual_seed(0)
    weight = torch.rand(7, dtype=torch.float64) + 0.5
    return LAYERS[kind]().double(), Graph(EDGES, 5, weight), torch.randn(5, 2, dtype=torch.float64)


def jacobian(function, x):
    return torch.autograd.functional.jacobian(function, x)


@pytest.mark.parametrize("kind", LAYERS)
class TestTransforms:
    def test_forward_mode(self, kind):
        layer, graph, x = made(kind)
        want = jacobian(lambda x: layer(graph, x), x)
        torch.testing.assert_close(torch.func.jacfwd(lambda x: layer(graph, x))(x), want)
        v = torch.randn_like(x)
        layer.requires_grad_(False)
        with forward_ad.dual_level():
            tangent = forward_ad.unpack_dual(layer(graph, forward_ad.make_dual(x, v))).tangent
        torch.testing.assert_close(tangent, torch.einsum("abcd,cd->ab", want, v))

    def test_gradients_of_functions(self, kind):
        layer, graph, x = made(kind)
        torch.testing.assert_close(
            torch.func.jacrev(lambda x: layer(graph, x))(x), jacobian(lambda x: layer(graph, x), x)
        )
        xs = torch.randn(3, 5, 2, dtype=torch.float64)
        grad = torch.func.grad(lambda x: layer(graph, x).pow(2).sum())
        torch.testing.assert_close(torch.vmap(grad)(xs), torch.stack([grad(x) for x in xs]))
        hessian = torch.func.hessian(lambda x: layer(graph, x).pow(3).sum())(x)
        torch.testing.assert_close(
            hessian, torch.autograd.functional.hessian(lambda x: layer(graph, x).pow(3).sum(), x)
        )

    @pytest.mark.filterwarnings("ignore:adjoint='checkpointed' inside a torch.func transform")
    def test_through_a_solve(self, kind):
        layer, graph, x = made(kind)

        def end(x, adjoint):
            return solve(GraphField(layer, graph), x, [0.0, 1.0], adjoint=adjoint, **STEPS).ys[-1]

        want = jacobian(lambda x: end(x, "direct"), x)
        torch.testing.assert_close(torch.func.jacfwd(lambda x: end(x, "direct"))(x), want)
        torch.testing.assert_close(torch.func.jacrev(lambda x: end(x, "checkpointed"))(x), want)

    def test_what_a_transform_made_first_serves_afterwards(self, kind):
        layer, graph, x = made(kind)
        torch.func.grad(lambda x: layer(graph, x).sum())(x)
        for same in (copy.deepcopy(graph), pickle.loads(pickle.dumps(graph))):
            assert torch.equal(layer(same, x), layer(Graph(EDGES, 5, graph.edge_weight), x))

    def test_a_graph_that_was_used_may_be_compiled_with(self, kind):
        layer, graph, x = made(kind)
        want = layer(Graph(EDGES, 5, graph.edge_weight), x)
        layer(graph, x)
        torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(graph, x), want)

    def test_autocast(self, kind):
        layer, graph, x = made(kind)
        layer, graph, x = layer.float(), graph.to(torch.float32), x.float()
        want = layer(graph, x)
        with torch.autocast("cpu", torch.bfloat16):
            got = layer(graph, x)
            NeuralODE(GraphField(layer, graph), **STEPS)(x).sum().backward()
        torch.testing.assert_close(got.float(), want, rtol=0.05, atol=0.05)


def test_gradients_to_weights_of_edges():
    layer, graph, x = made("convolution")

    def out(weight):
        return layer(Graph(EDGES, 5, weight), x)

    want = jacobian(out, graph.edge_weight)
    torch.testing.assert_close(torch.func.jacrev(out)(graph.edge_weight), want)
    torch.testing.assert_close(torch.func.jacfwd(out)(graph.edge_weight), want)


def test_a_field_that_is_the_gradient_of_an_energy():
    """Down the Dirichlet energy, which is what diffusion is."""
    _, graph, x = made("convolution")
    field = torch.func.grad(lambda x: -dirichlet_energy(graph, x, normalised=False))
    laplacian = -torch.autograd.functional.hessian(lambda x: dirichlet_energy(graph, x, normalised=False), x[:, :1])
    steps = {"solver": "rk4", "controller": Fixed(steps=20)}
    want = solve(lambda t, y: laplacian[:, 0, :, 0] @ y, x, [0.0, 1.0], **steps).ys
    got = solve(lambda t, y: field(y), x, [0.0, 1.0], **steps).ys
    torch.testing.assert_close(got, want)
    assert dirichlet_energy(graph, got[1]) < dirichlet_energy(graph, got[0])
    torch.testing.assert_close(NeuralODE(autonomous(field), **steps)(x), want[1])


MODELS = {
    "GCDE": lambda: GCDE(2, 4, 2, **STEPS),
    "GRAND": lambda: GRAND(2, 4, 2, **STEPS),
    "GraphCON": lambda: GraphCON(2, 4, 2, **STEPS),
    "attention": lambda: GCDE(2, 4, 2, net=GraphAttention(4, 2, 2), **STEPS),
}


@pytest.mark.parametrize("kind", MODELS)
def test_evaluated_under_inference_mode_a_model_trains_afterwards(kind):
    model, graph, x = MODELS[kind](), Graph(EDGES, 5, torch.rand(7)), torch.randn(5, 2)
    with torch.inference_mode():
        want = model(graph, x)
    out = model(graph, x)
    out.sum().backward()
    torch.testing.assert_close(out, want.clone())


def test_so_does_one_of_series():
    from torchdyn_core import IrregularSeries

    model, graph = GCDEGRU(2, 4, 2, **STEPS), Graph(EDGES, 5)
    series = IrregularSeries(torch.tensor([[0.0, 0.4, 1.0]]), torch.ones(1, 3, 10))
    with torch.inference_mode():
        model(graph, series)
    model(graph, series).sum().backward()
    assert nn.utils.parameters_to_vector([weight.grad for weight in model.parameters()]).any()
