"""Graphs and layers of DGL and of PyG, and neither of them."""

import importlib.util
import shutil
import subprocess
import sys
import textwrap
import warnings

import pytest
import torch
from torch import nn

from torchdyn_core import NeuralODE, ShapeError
from torchdyn_core.errors import FallbackWarning
from torchdyn_graph import Graph, GraphAttention, GraphConv, GraphDiffusion, GraphField, GraphSequential

EDGES = torch.tensor([[0, 1, 1, 2, 3, 3], [1, 0, 2, 1, 3, 0]])
NODES = 5
WEIGHT = torch.linspace(0.5, 1.5, 6)


def missing(name):
    return pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is not installed")


compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)


def model():
    torch.manual_seed(0)
    return GraphSequential(GraphConv(3, 4), nn.Tanh(), GraphAttention(4, 2, 2), GraphDiffusion(4, 4), GraphConv(4, 3))


def features():
    return torch.randn(NODES, 3, generator=torch.Generator().manual_seed(0))


@missing("dgl")
class TestDGL:
    @pytest.fixture
    def dgl(self):
        from torchdyn_graph import dgl_bridge

        return dgl_bridge.library()

    def graph(self, dgl, weighted=False):
        graph = dgl.graph((EDGES[0], EDGES[1]), num_nodes=NODES)
        if weighted:
            graph.edata["w"] = WEIGHT
        return graph

    @pytest.mark.parametrize("weighted", [False, True])
    def test_our_layers_take_its_graphs(self, dgl, weighted):
        net, x = model(), features()
        ours = Graph(EDGES, NODES, WEIGHT if weighted else None)
        want = NeuralODE(GraphField(net, ours))(x)
        torch.testing.assert_close(NeuralODE(GraphField(net, self.graph(dgl, weighted)))(x), want)
        torch.testing.assert_close(net(self.graph(dgl, weighted), x), net(ours, x))

    def test_its_layers_are_fields(self, dgl):
        theirs, ours = dgl.nn.GraphConv(3, 3), GraphConv(3, 3)
        with torch.no_grad():
            ours.linear.weight.copy_(theirs.weight.T)
        graph, x = dgl.add_self_loop(dgl.graph((EDGES[0, :4], EDGES[1, :4]), num_nodes=NODES)), features()
        want = NeuralODE(GraphField(GraphSequential(ours, nn.Tanh()), Graph(EDGES[:, :4], NODES)))(x)
        for given in (graph, Graph(EDGES[:, :4], NODES).looped(True)):
            torch.testing.assert_close(NeuralODE(GraphField(GraphSequential(theirs, nn.Tanh()), given))(x), want)
        with pytest.raises(ShapeError, match=r"node features are \(4, 3\) for a graph of 5 nodes"):
            NeuralODE(GraphField(theirs, graph))(x[:4])

    @compiler
    def test_solves_with_its_layers_run_eager_and_say_so(self, dgl):
        field, x = GraphField(dgl.nn.GraphConv(3, 3), dgl.add_self_loop(self.graph(dgl))), features()
        with pytest.warns(FallbackWarning, match="compile=True runs eagerly"):
            got = NeuralODE(field, compile=True)(x)
        torch.testing.assert_close(got, NeuralODE(field)(x))

    def test_batches_and_types(self, dgl):
        from torchdyn_graph.bridges import native

        made = native(dgl.batch([self.graph(dgl), self.graph(dgl)]))
        assert made.batch.tolist() == [0] * NODES + [1] * NODES
        several = dgl.heterograph({("a", "cites", "b"): ([0], [1]), ("b", "back", "a"): ([0], [1])})
        with pytest.raises(ShapeError, match=r"node types \['a', 'b'\]"):
            native(several)

    def test_states_by_type_of_node(self, dgl):
        graph = dgl.heterograph({("a", "cites", "b"): ([0, 1], [1, 0]), ("b", "cited", "a"): ([0, 1, 2], [1, 0, 0])})
        convolutions = {kind: dgl.nn.GraphConv(2, 2, allow_zero_in_degree=True) for kind in ("cites", "cited")}
        field = GraphField(dgl.nn.HeteroGraphConv(convolutions), graph)
        y0 = {"a": torch.randn(2, 2), "b": torch.randn(3, 2)}
        y1 = NeuralODE(field)(y0)
        assert {kind: tuple(y.shape) for kind, y in y1.items()} == {"a": (2, 2), "b": (3, 2)}
        assert all(not torch.equal(y1[kind], y0[kind]) for kind in y0)
        with pytest.raises(ShapeError, match=r"no features of node type 'b'; wanted 'a', 'b'"):
            NeuralODE(field)({"a": y0["a"]})
        with pytest.raises(ShapeError, match=r"'b' are \(5, 2\) for 3 nodes"):
            NeuralODE(field)({"a": y0["a"], "b": torch.randn(5, 2)})
        with pytest.raises(ShapeError, match="wanted a dict of them by node type: 'a', 'b'"):
            NeuralODE(field)(y0["a"])

    def test_weights_go_to_layers_that_take_them(self, dgl):
        layer, x = dgl.nn.GraphConv(3, 2, norm="none", allow_zero_in_degree=True), features()
        want = layer(self.graph(dgl), x, edge_weight=WEIGHT)
        for graph in (Graph(EDGES, NODES, WEIGHT), self.graph(dgl, weighted=True)):
            torch.testing.assert_close(GraphSequential(layer)(graph, x), want)
        plain = dgl.nn.GATv2Conv(3, 2, 1, allow_zero_in_degree=True)  # has no place for them
        torch.testing.assert_close(GraphSequential(plain)(Graph(EDGES, NODES, WEIGHT), x), plain(self.graph(dgl), x))

    def test_neighbourhoods_that_its_sampler_draws(self, dgl):
        torch.manual_seed(0)
        net, graph, x = model(), self.graph(dgl, weighted=True), features()
        sampler = dgl.dataloading.ShaDowKHopSampler([-1])
        nodes, seeds, part = sampler.sample(graph, torch.tensor([1]))
        assert sorted(nodes.tolist()) == [0, 1, 2] and part.num_edges() == 4
        edges, weights = torch.stack(part.edges()), graph.edata["w"][part.edata[dgl.EID]]
        want = net(Graph(edges, len(nodes), weights), x[nodes])
        torch.testing.assert_close(net(part, x[nodes])[: len(seeds)], want[: len(seeds)])


@missing("torch_geometric")
class TestPyG:
    @pytest.fixture
    def pyg(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own sources
            import torch_geometric.data
            import torch_geometric.nn
        return torch_geometric

    @pytest.mark.parametrize("weighted", [False, True])
    def test_our_layers_take_its_data(self, pyg, weighted):
        net, x = model(), features()
        data = pyg.data.Data(x=x, edge_index=EDGES, edge_weight=WEIGHT if weighted else None)
        ours = Graph(EDGES, NODES, WEIGHT if weighted else None)
        torch.testing.assert_close(net(data, x), net(ours, x))

    def test_its_layers_are_fields(self, pyg):
        theirs, ours = pyg.nn.GCNConv(3, 3), GraphConv(3, 3)
        with torch.no_grad():
            ours.linear.weight.copy_(theirs.lin.weight)
        x = features()
        for graph in (Graph(EDGES, NODES), Graph(EDGES, NODES, WEIGHT)):
            want = NeuralODE(GraphField(GraphSequential(ours, nn.Tanh()), graph))(x)
            got = NeuralODE(GraphField(GraphSequential(theirs, nn.Tanh()), graph))(x)
            torch.testing.assert_close(got, want)

    @compiler
    def test_solves_with_its_layers_run_eager_and_say_so(self, pyg):
        field, x = GraphField(GraphSequential(pyg.nn.GCNConv(3, 3)), Graph(EDGES, NODES)), features()
        with pytest.warns(FallbackWarning, match="compile=True runs eagerly"):
            got = NeuralODE(field, compile=True)(x)
        torch.testing.assert_close(got, NeuralODE(field)(x))

    def test_layers_take_weights_if_they_have_a_place_for_them(self, pyg):
        x, graph = features(), Graph(EDGES, NODES, WEIGHT)
        for layer in (pyg.nn.SAGEConv(3, 2), pyg.nn.GATv2Conv(3, 2), pyg.nn.GINConv(nn.Linear(3, 2))):
            torch.testing.assert_close(GraphSequential(layer)(graph, x), layer(x, EDGES))
        whole = pyg.nn.GCN(3, 4, 2).eval()
        torch.testing.assert_close(GraphSequential(whole)(graph, x), whole(x, EDGES, edge_weight=WEIGHT))

    def test_batches(self, pyg):
        from torchdyn_graph.bridges import native

        data = pyg.data.Data(edge_index=EDGES, num_nodes=NODES)
        assert native(pyg.data.Batch.from_data_list([data, data])).batch.tolist() == [0] * NODES + [1] * NODES

    @pytest.mark.skipif(
        not any(map(importlib.util.find_spec, ("pyg_lib", "torch_sparse"))),
        reason="its loader needs pyg-lib or torch-sparse, which are no packages of PyPI's for this torch",
    )
    def test_neighbourhoods_that_its_loader_draws(self, pyg):
        from torch_geometric.loader import NeighborLoader

        net, x = model(), features()
        data = pyg.data.Data(x=x, edge_index=EDGES)
        part = next(iter(NeighborLoader(data, [-1] * NODES, batch_size=NODES)))
        torch.testing.assert_close(net(part, part.x), net(data, x)[part.n_id])


@pytest.mark.parametrize("failure", ["ImportError('no dgl')", "FileNotFoundError('libgraphbolt.so')"])
def test_where_dgl_is_missing_or_broken_only_its_graphs_are_refused(tmp_path, failure):
    (tmp_path / "dgl").mkdir()
    (tmp_path / "dgl" / "__init__.py").write_text(f"raise {failure}")
    code = """
        import torch
        from torchdyn_core import MissingExtraError, solve
        from torchdyn_graph import Graph, GraphConv, GraphField

        edges = torch.tensor([[0, 1], [1, 0]])
        solve(GraphField(GraphConv(2, 2), Graph(edges)), torch.ones(2, 2), [0.0, 1.0])
        DGLGraph = type("DGLGraph", (), {"__module__": "dgl.heterograph"})
        try:
            GraphConv(2, 2)(DGLGraph(), torch.ones(2, 2))
        except MissingExtraError as error:
            print(error)
    """
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{textwrap.dedent(code)}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "DGL cannot be imported" in run.stdout and failure.split("'")[1] in run.stdout
    assert 'pip install "torchdyn-graph[dgl]"' in run.stdout
