"""Sums over neighbours and products along edges: values, derivatives of every order, dtypes."""

import pytest
import torch

from torchdyn_graph import Graph
from torchdyn_graph.neighbours import along_edges, from_neighbours, largest_into

DTYPE = torch.float64


WIDTHS = (1, 3, 8, 11)  # narrow rows and wide ones are multiplied by different routines


def made(nodes=7, edges=20, width=3, **options):
    generator = torch.Generator().manual_seed(0)
    graph = Graph(torch.randint(nodes, (2, edges), generator=generator), nodes + 1, **options)  # the last one is alone
    x, y = (torch.randn(nodes + 1, width, generator=generator, dtype=DTYPE) for _ in range(2))
    weight = torch.randn(edges, generator=generator, dtype=DTYPE)
    return graph, x, y, weight


def dense(graph, weight):
    source, target = graph.edge_index[:, graph.order]
    return torch.zeros(graph.num_nodes, graph.num_nodes, dtype=weight.dtype).index_put(
        (target, source), weight, accumulate=True
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_they_are_products_with_the_matrix(width):
    graph, x, y, weight = made(width=width)
    torch.testing.assert_close(from_neighbours(x, weight, graph.edges), dense(graph, weight) @ x)
    source, target = graph.edge_index[:, graph.order]
    torch.testing.assert_close(along_edges(y, x, graph.edges), (y[target] * x[source]).sum(-1))


@pytest.mark.parametrize("width", WIDTHS)
def test_derivatives_of_both_and_of_their_derivatives(width):
    graph, *inputs = made(width=width)
    x, y, weight = (value.requires_grad_() for value in inputs)
    for function, values in (
        (lambda x, w: from_neighbours(x, w, graph.edges), (x, weight)),
        (lambda y, x: along_edges(y, x, graph.edges), (y, x)),
    ):
        assert torch.autograd.gradcheck(function, values)
        assert torch.autograd.gradgradcheck(function, values)


def test_rows_that_do_not_lie_in_order():
    graph, x, y, _ = made()
    turned = [value.T.contiguous().T for value in (y, x)]
    torch.testing.assert_close(along_edges(*turned, graph.edges), along_edges(y, x, graph.edges))


def test_the_largest_that_comes_into_a_node():
    graph, _, _, weight = made()
    entries = torch.full((8, 8), -torch.inf, dtype=DTYPE)
    for (source, target), value in zip(graph.ends.T.tolist(), weight, strict=True):
        entries[target, source] = torch.maximum(entries[target, source], value)
    assert torch.equal(largest_into(weight, graph.edges), entries.amax(1))
    assert largest_into(weight, graph.edges)[-1] == -torch.inf  # nothing comes into it
    assert torch.equal(torch.func.vmap(lambda w: largest_into(w, graph.edges))(weight[None])[0], entries.amax(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.complex64])
def test_other_dtypes(dtype):
    graph, x, y, weight = made()
    x, y, weight = (value.to(dtype) for value in (x, y, weight))
    wide = torch.complex128 if dtype.is_complex else DTYPE
    loose = {"rtol": 3e-2, "atol": 3e-2} if dtype in (torch.bfloat16, torch.float16) else {}
    got = from_neighbours(x, weight, graph.edges)
    assert got.dtype == dtype
    torch.testing.assert_close(got, (dense(graph, weight.to(wide)) @ x.to(wide)).to(dtype), **loose)
    assert along_edges(y, x, graph.edges).dtype == dtype


def test_torch_knows_them_as_operations():
    graph, x, y, weight = made()
    turned = weight.detach()[graph.edges.turn]
    for name, inputs, rest in (
        ("from_neighbours", (x, weight), (None,)), ("from_neighbours", (x,), (weight.detach(), turned)),
        ("along_edges", (y, x), ()),
    ):  # fmt: skip
        arguments = (*(value.clone().requires_grad_() for value in inputs), *rest, *graph.edges.parts())
        torch.library.opcheck(getattr(torch.ops.torchdyn_graph, name).default, arguments)


def test_weights_that_are_known_in_both_orders_change_nothing():
    graph, x, _, weight = made()
    weight = weight.detach()
    turned = weight[graph.edges.turn]
    gradgradcheck = torch.autograd.gradgradcheck
    assert gradgradcheck(lambda x: from_neighbours(x, weight, graph.edges, turned).pow(2), x.requires_grad_())
    grads = [
        torch.autograd.grad(from_neighbours(x, weight, graph.edges, given).pow(2).sum(), x)[0]
        for given in (None, turned)
    ]
    assert torch.equal(*grads)


def test_no_edges_and_no_nodes():
    graph = Graph(torch.zeros(2, 0, dtype=torch.long), 3)
    x = torch.randn(3, 2, requires_grad=True)
    out = graph.sum(x)
    assert not out.any() and not torch.autograd.grad(out.sum(), x)[0].any()
    assert graph.dot(x, x).shape == (0,)
    assert Graph(torch.zeros(2, 0, dtype=torch.long), 0).sum(torch.zeros(0, 2)).shape == (0, 2)
