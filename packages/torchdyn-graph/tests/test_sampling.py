"""Neighbourhoods: edges of the graph, as many as were asked for, drawn evenly."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from torchdyn_core import Fixed, IncompatibleError, OptionError, ShapeError
from torchdyn_graph import GCDE, Graph, GraphConv, GraphSequential, NeighbourSampler


@pytest.fixture
def graph():
    edges = torch.randint(50, (2, 300), generator=torch.Generator().manual_seed(0))
    return Graph(edges, 52, torch.rand(300, generator=torch.Generator().manual_seed(1)))


def hops(graph, seeds, count):
    """Nodes within so many hops against the edges, by the definition."""
    found = set(seeds)
    for _ in range(count):
        found |= {source for source, target in graph.edge_index.T.tolist() if target in found}
    return found


def test_edges_are_those_of_the_graph_with_their_weights(graph):
    part = NeighbourSampler(graph, [4, 3])([3, 17, 5])
    assert torch.equal(part.nodes[part.graph.edge_index], graph.edge_index[:, part.edges])
    assert torch.equal(part.graph.edge_weight, graph.edge_weight[part.edges])
    assert part.nodes[part.seeds].tolist() == [3, 17, 5]
    assert part.nodes.unique().numel() == part.nodes.numel() and part.edges.unique().numel() == part.edges.numel()


def test_all_edges_of_so_many_hops(graph):
    part = NeighbourSampler(graph, [-1, -1])([3, 17])
    assert set(part.nodes.tolist()) == hops(graph, [3, 17], 2)
    near = hops(graph, [3, 17], 1)
    wanted = [place for place, target in enumerate(graph.edge_index[1].tolist()) if target in near]
    assert sorted(part.edges.tolist()) == wanted


def test_no_node_has_more_edges_than_the_fanout_and_none_is_seen_twice(graph):
    part = NeighbourSampler(graph, [3, 2])(torch.arange(10))
    degrees = torch.bincount(graph.edge_index[1], minlength=52)[part.nodes]
    drawn = torch.bincount(part.graph.edge_index[1], minlength=len(part.nodes))
    assert torch.equal(drawn[:10], degrees[:10].clamp(max=3))
    assert (drawn[10:] <= degrees[10:].clamp(max=2)).all()


def test_every_edge_is_as_likely_as_the_others():
    star = Graph(torch.stack((torch.arange(1, 11), torch.zeros(10, dtype=torch.long))), 11)
    torch.manual_seed(0)
    sampler, counts = NeighbourSampler(star, [3]), torch.zeros(10)
    for _ in range(2000):
        counts[sampler([0]).edges] += 1
    assert counts.sum() == 6000
    assert (counts - 600).square().sum() / 600 < 27.9 * 7 / 9  # 99.9 % of chi squared; 3 of 10 at once vary less


def test_with_all_neighbours_seeds_have_what_they_have_on_the_graph(graph):
    torch.manual_seed(0)
    net = GraphSequential(GraphConv(4, 8), nn.Tanh(), GraphConv(8, 2))
    x = torch.randn(52, 4)
    whole = net(graph, x)
    part = NeighbourSampler(graph, [-1] * 3)([1, 9, 30])  # degrees of the last ones that count are known one hop later
    torch.testing.assert_close(net(part.graph, x[part.nodes])[part.seeds], whole[[1, 9, 30]])
    part = NeighbourSampler(graph, [-1] * 52)([1, 9, 30])
    model = GCDE(4, 8, 2, solver="rk4", controller=Fixed(steps=3))
    torch.testing.assert_close(model(part.graph, x[part.nodes])[part.seeds], model(graph, x)[[1, 9, 30]])


def test_it_trains_on_parts_of_a_graph_and_holds_on_the_whole():
    """Two communities that the features alone do not tell apart."""
    torch.manual_seed(0)
    nodes, label = 400, torch.arange(400) % 2
    pairs = torch.randint(nodes, (2, 20000))
    alike = label[pairs[0]] == label[pairs[1]]
    pairs = pairs[:, alike | (torch.rand(20000) < 0.05)]
    graph = Graph(torch.cat((pairs, pairs.flip(0)), 1), nodes)
    x = torch.randn(nodes, 4) + 0.3 * (2 * label[:, None] - 1)
    model = GCDE(4, 8, 2, solver="rk4", controller=Fixed(steps=1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(5):
        for part in DataLoader(range(200), batch_size=20, shuffle=True, collate_fn=NeighbourSampler(graph, [8, 4])):
            scores = model(part.graph, x[part.nodes])[part.seeds]
            optimizer.zero_grad()
            nn.functional.cross_entropy(scores, label[part.nodes[part.seeds]]).backward()
            optimizer.step()
    with torch.no_grad():
        right = (model(graph, x)[200:].argmax(1) == label[200:]).float().mean()
    assert right > 0.95 > (x[200:].sum(1).sign() == (2 * label[200:] - 1)).float().mean()


def test_worker_processes_draw(graph):
    loader = DataLoader(range(8), batch_size=4, collate_fn=NeighbourSampler(graph, [2]), num_workers=1)
    assert [part.nodes[part.seeds].tolist() for part in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_nodes_without_neighbours_and_no_nodes(graph):
    alone = NeighbourSampler(graph, [2, 2])([51])
    assert alone.graph.num_nodes == 1 and alone.graph.num_edges == 0
    none = NeighbourSampler(graph, [2])([])
    assert none.graph.num_nodes == 0 and none.seeds.numel() == 0


def test_what_makes_no_sense_is_refused(graph):
    for fanouts in ([], [0], [-2], [2.5], [True]):
        with pytest.raises(OptionError, match="fanouts"):
            NeighbourSampler(graph, fanouts)
    for seeds in ([52], [-1], [[1, 2]]):
        with pytest.raises(ShapeError, match="below 52"):
            NeighbourSampler(graph, [2])(seeds)


def test_what_is_no_number_of_a_node_is_refused(graph):
    mask = torch.zeros(52, dtype=torch.bool)
    mask[[10, 20]] = True
    with pytest.raises(ShapeError, match=r"bool.*mask\.nonzero"):
        NeighbourSampler(graph, [3])(mask)
    with pytest.raises(ShapeError, match="float"):
        NeighbourSampler(graph, [3])([1.7, 3.2])
    part = NeighbourSampler(graph, [3])(mask.nonzero()[:, 0])
    assert part.nodes[part.seeds].tolist() == [10, 20]


def test_learned_weights_stay_in_the_process(graph):
    weight = torch.rand(300, requires_grad=True)
    sampler = NeighbourSampler(Graph(graph.edge_index, 52, weight), [3])
    sampler([0, 1]).graph.edge_weight.sum().backward()
    assert weight.grad.any()
    with pytest.raises(IncompatibleError, match="num_workers=0"):
        next(iter(DataLoader(range(8), batch_size=4, collate_fn=sampler, num_workers=1)))
