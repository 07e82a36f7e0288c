"""Graphs: what they refuse, what they make of themselves."""

import numpy as np
import pytest
import torch

from torchdyn_core import ShapeError
from torchdyn_graph import Graph

EDGES = torch.tensor([[0, 1, 1, 2, 3], [1, 0, 2, 1, 3]])


def matrix(graph, dtype=torch.float64):
    """Its matrix: rows are targets."""
    return graph.sum(torch.eye(graph.num_nodes, dtype=dtype))


def test_messages_go_from_source_to_target():
    graph = Graph(torch.tensor([[0], [1]]), 2, torch.tensor([5.0]))
    assert matrix(graph).tolist() == [[0.0, 0.0], [5.0, 0.0]]


def propagation(graph, loops, dtype=torch.float64):
    weight = graph.propagation(loops, dtype)
    return graph.looped(loops).sum(torch.eye(graph.num_nodes, dtype=dtype), weight)


@pytest.mark.parametrize("weighted", [False, True])
def test_propagation_is_that_of_kipf_and_welling(weighted):
    weight = torch.rand(5, dtype=torch.float64) if weighted else None
    graph = Graph(EDGES, 5, weight)  # a path of three, a node with a loop of its own, one alone
    a = matrix(graph)
    a = a + torch.diag((a.diagonal() == 0).double())
    scale = a.sum(1).rsqrt()
    torch.testing.assert_close(propagation(graph, True), scale[:, None] * a * scale, rtol=1e-14, atol=1e-14)
    assert graph.propagation(True, torch.float64) is graph.propagation(True, torch.float64)
    alone = propagation(graph, False)[4]
    assert not alone.any() and bool(alone.isfinite().all())


def test_weights_have_gradients_and_learned_ones_are_normalised_anew():
    weight = torch.rand(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: propagation(Graph(EDGES, 4, w), True), weight)
    graph = Graph(EDGES, 4, weight)
    before = propagation(graph, True)
    with torch.no_grad():
        weight.mul_(torch.linspace(1, 2, 5))
    assert not torch.equal(propagation(graph, True), before)
    later = Graph(EDGES, 4, torch.rand(5, dtype=torch.float64))
    propagation(later, True)  # made once, and not to be taken once its weights are learned
    later.edge_weight.requires_grad_()
    assert propagation(later, True).requires_grad and matrix(later).requires_grad


def test_several_are_one():
    one, two = Graph(EDGES, 4), Graph(torch.tensor([[0, 1], [1, 0]]), 3)
    both = Graph.batched([one, two])
    assert both.batch.tolist() == [0] * 4 + [1] * 3 and repr(both) == "Graph(nodes=7, edges=7, graphs=2)"
    torch.testing.assert_close(matrix(both), torch.block_diag(matrix(one), matrix(two)))
    with pytest.raises(ShapeError, match="on all of them or on none"):
        Graph.batched([one, Graph(EDGES, 4, torch.ones(5))])
    with pytest.raises(ShapeError, match="got 0 graphs"):
        Graph.batched([])


def test_features_of_any_rank():
    graph, x = Graph(EDGES, 4), torch.randn(4, 2, 3)
    torch.testing.assert_close(graph.sum(x), graph.sum(x.flatten(1)).reshape(4, 2, 3))
    assert graph.sum(x[:, 0, 0]).shape == (4,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(3, 2, dtype=torch.long),), r"edge_index is \(3, 2\); wanted \(2, E\)"),
        (([[0], [1]],), "edge_index is list"),
        ((EDGES.float(),), "edge_index is torch.float32; wanted long"),
        ((EDGES, 3), "edges have ends from 0 to 3; there are 3 nodes"),
        ((EDGES - 1, 9), "edges have ends from -1 to 2"),
        ((EDGES, True), "num_nodes=True"),
        ((EDGES, 4, torch.ones(4)), r"edge_weight \(4,\) torch.float32; wanted \(5,\)"),
        ((EDGES, 4, torch.ones(5, dtype=torch.long)), "wanted .* of floating-point numbers"),
    ],
)
def test_what_is_no_graph_is_refused(arguments, words):
    with pytest.raises(ShapeError, match=words):
        Graph(*arguments)


def test_features_of_other_nodes_are_refused():
    graph = Graph(EDGES, 4)
    with pytest.raises(ShapeError, match=r"node features are \(3, 2\) for a graph of 4 nodes"):
        graph.sum(torch.ones(3, 2))
    with pytest.raises(ShapeError, match=r"on meta, the graph on cpu; wanted graph.to\(x.device\)"):
        graph.sum(torch.ones(4, 2, device="meta"))
    with pytest.raises(ShapeError, match=r"batch .* wanted"):
        Graph(EDGES, 4, batch=torch.zeros(3, dtype=torch.long))


def test_parts_that_do_not_fit_are_refused_and_sizes_are_any_whole_number():
    assert Graph(EDGES, np.int64(4)).num_nodes == 4
    for parts in (
        {"edge_weight": torch.ones(EDGES.shape[1], device="meta")},
        {"batch": torch.tensor([0, 1, -1, 1])},
        {"batch": torch.zeros(4)},
    ):
        with pytest.raises(ShapeError):
            Graph(EDGES, 4, **parts)
    graph = Graph(EDGES, 4)
    with pytest.raises(ShapeError, match=r"torch\.int64; wanted real or complex"):
        graph.sum(torch.ones(4, 2, dtype=torch.long))
    with pytest.raises(ShapeError, match="weights of edges"):
        graph.sum(torch.ones(4, 2), torch.ones(3))
    assert graph.sum(torch.ones(4, 0)).shape == (4, 0)
    mixed = graph.sum(torch.ones(4, 2), torch.ones(EDGES.shape[1], dtype=torch.float64))
    assert mixed.dtype == torch.float64


def test_complex_features_are_propagated():
    graph, x = Graph(EDGES, 4), torch.randn(4, 2, dtype=torch.complex128)
    want = torch.complex(graph.propagated(x.real, True), graph.propagated(x.imag, True))
    torch.testing.assert_close(graph.propagated(x, True), want)
