"""One model of Cora, on every form of its graph, and the same model of other libraries' layers."""

import importlib.util
import os
import warnings

import pytest
import torch
from torch import nn

from torchdyn_core import Fixed
from torchdyn_datasets import cora
from torchdyn_graph import GCDE, Graph, GraphConv, GraphSequential

FORMS = ["edge_index", "dgl", "torch_geometric"]


@pytest.fixture(scope="module")
def data():
    if not os.environ.get("TORCHDYN_DATA"):
        pytest.skip("TORCHDYN_DATA names no folder with the real data sets")
    return cora(normalise=True)


def graph_as(form, data):
    """Cora's graph as a library has it."""
    if form == "edge_index":
        return data.edge_index
    if importlib.util.find_spec(form) is None:
        pytest.skip(f"{form} is not installed")
    if form == "dgl":
        from torchdyn_graph import dgl_bridge

        return dgl_bridge.library().graph(tuple(data.edge_index), num_nodes=len(data))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own sources
        from torch_geometric.data import Data

        return Data(edge_index=data.edge_index, num_nodes=len(data))


def network():
    torch.manual_seed(0)
    return GraphSequential(GraphConv(1433, 16), nn.ReLU(), GraphConv(16, 7))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["GCN", "GCDE"])
def test_one_model_has_the_same_scores_on_every_form(data, form, kind):
    torch.manual_seed(0)
    model = network() if kind == "GCN" else GCDE(1433, 16, 7, solver="rk4", controller=Fixed(steps=2))
    want = model(Graph(data.edge_index, len(data)), data.features)
    torch.testing.assert_close(model(graph_as(form, data), data.features), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["dgl", "torch_geometric"])
def test_layers_of_other_libraries_with_the_same_weights_have_the_same_scores(data, form):
    ours, graph = network(), graph_as(form, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "dgl":
            from dgl.nn import GraphConv as Theirs
        else:
            from torch_geometric.nn import GCNConv as Theirs
    theirs = GraphSequential(Theirs(1433, 16), nn.ReLU(), Theirs(16, 7))
    with torch.no_grad():
        for place in (0, 2):
            weight = ours.layers[place].linear.weight
            if form == "dgl":
                theirs.layers[place].weight.copy_(weight.T)
            else:
                theirs.layers[place].lin.weight.copy_(weight)
    want = ours(Graph(data.edge_index, len(data)), data.features)
    if form == "dgl":
        graph = graph.add_self_loop()  # which its layer leaves to the graph
    torch.testing.assert_close(theirs(graph, data.features), want, rtol=1e-5, atol=1e-5)
