"""Layers, against what they are defined as and against the same ones of DGL and PyG."""

import pytest
import torch
from torch import nn

from torchdyn_core import OptionError, solve
from torchdyn_graph import Graph, GraphAttention, GraphConv, GraphDiffusion, GraphField

DTYPE = torch.float64
EDGES = torch.tensor([[0, 1, 1, 2, 3, 3], [1, 0, 2, 1, 3, 0]])
NODES = 5  # the last one is alone, the one before has a loop of its own


def features(width=3):
    return torch.randn(NODES, width, dtype=DTYPE, generator=torch.Generator().manual_seed(0))


def adjacency(loops=True):
    a = torch.zeros(NODES, NODES, dtype=DTYPE)
    a[EDGES[1], EDGES[0]] = 1.0
    return a + torch.diag((a.diagonal() == 0).double()) if loops else a


@pytest.mark.parametrize(("ins", "outs"), [(3, 2), (2, 3)])
@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_convolution(ins, outs, loops, own):
    layer, x = GraphConv(ins, outs, loops=loops, own=own).double(), features(ins)
    nn.init.normal_(layer.bias)
    a = adjacency(loops)
    scale = torch.where(a.sum(1) > 0, a.sum(1).clamp(min=1e-30).rsqrt(), 0.0)
    want = scale[:, None] * a * scale @ x @ layer.linear.weight.T + layer.bias
    if own:
        want = want + x @ layer.own.weight.T
    torch.testing.assert_close(layer(Graph(EDGES, NODES), x), want)


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("loops", [True, False])
def test_attention(heads, mean, loops):
    torch.manual_seed(0)
    layer, x = GraphAttention(3, 2, heads, mean=mean, loops=loops).double(), features()
    h = layer.linear(x).reshape(NODES, heads, 2)
    scores = (h * layer.of_source).sum(-1)[None] + (h * layer.of_target).sum(-1)[:, None]  # target, source, head
    scores = nn.functional.leaky_relu(scores, 0.2).masked_fill(adjacency(loops)[..., None] == 0, -torch.inf)
    weights = scores.softmax(1).nan_to_num()
    want = torch.einsum("tsh,shd->thd", weights, h)
    want = want.mean(1) if mean else want.flatten(1)
    torch.testing.assert_close(layer(Graph(EDGES, NODES), x), want)


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("loops", [True, False])
def test_diffusion(heads, loops):
    torch.manual_seed(0)
    layer, x = GraphDiffusion(3, 4, heads, loops=loops).double(), features()
    keys, queries = (part(x).reshape(NODES, heads, -1) for part in (layer.key, layer.query))
    scores = torch.einsum("thd,shd->tsh", queries, keys) / (4 / heads) ** 0.5
    scores = scores.masked_fill(adjacency(loops)[..., None] == 0, -torch.inf)
    weights = scores.softmax(1).nan_to_num().mean(-1)
    want = weights @ x - x
    want[weights.sum(1) == 0] = 0.0
    torch.testing.assert_close(layer(Graph(EDGES, NODES), x), want)


def test_diffusion_smooths_and_leaves_who_is_alone():
    torch.manual_seed(0)
    field, x = GraphField(GraphDiffusion(3, loops=False).double(), Graph(EDGES[:, :4], NODES)), features()
    ys = solve(field, x, torch.linspace(0, 5, 11, dtype=DTYPE)).ys
    spans = (ys[:, :3].amax(1) - ys[:, :3].amin(1)).detach()
    assert bool((spans[1:] <= spans[:-1]).all()) and bool((spans[-1] < 0.2 * spans[0]).all())
    assert torch.equal(ys[-1, 3:], x[3:])


def test_scores_may_be_large():
    graph = Graph(EDGES, NODES)
    scores = torch.tensor([1e4, -1e4, 5e3, 0.0, 1.0, -1e30], dtype=DTYPE, requires_grad=True)
    weights = graph.softmax(scores)
    sums = graph.sum(torch.ones(NODES, 1, dtype=DTYPE), weights)[:, 0]
    torch.testing.assert_close(sums, graph.sees.double())
    assert bool(torch.autograd.grad(weights.square().sum(), scores)[0].isfinite().all())


@pytest.mark.parametrize(
    "make", [lambda: GraphConv(3, 3), lambda: GraphAttention(3, 2, 2), lambda: GraphDiffusion(3, 4, 2)]
)
def test_derivatives(make):
    torch.manual_seed(0)
    layer, graph = make().double(), Graph(EDGES, NODES)
    x = features().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: layer(graph, x), (x, *layer.parameters()))
    assert torch.autograd.gradgradcheck(lambda x: layer(graph, x), x)


def test_what_they_refuse():
    with pytest.raises(OptionError, match="heads=0"):
        GraphAttention(2, 2, 0)
    with pytest.raises(OptionError, match="wanted heads that divide the attention"):
        GraphDiffusion(2, 3, 2)
    with pytest.raises(OptionError, match="features=0"):
        GraphDiffusion(0)
