"""Models of graphs, and how smooth what they make is."""

import copy
import sys
import warnings

import pytest
import torch
from torch import nn

from torchdyn_core import PID, Fixed, IncompatibleError, MissingExtraError, OptionError, ShapeError, solve
from torchdyn_core.testing import FieldSuite
from torchdyn_graph import (
    GCDE,
    GRAND,
    DiffusionField,
    Graph,
    GraphCON,
    GraphConv,
    GraphDiffusion,
    GraphField,
    GraphSequential,
    OscillatorField,
    dirichlet_energy,
    plot_dirichlet_energy,
)
from torchdyn_graph.layer import FeatureDropout

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4], [1, 0, 2, 1, 3, 2, 4, 3]])
RK4 = {"solver": "rk4", "controller": Fixed(steps=1)}


def model(**options):
    torch.manual_seed(0)
    return GCDE(6, 8, 2, **RK4, **options)


def test_it_is_a_convolution_and_a_solve_and_a_convolution():
    net, graph, x = model(), Graph(EDGES, 5), torch.randn(5, 6)
    state = net.encoder(graph, x)
    end = solve(lambda t, y: net.ode.field.net(graph, y), state, [0.0, 1.0], **RK4).ys[-1]
    torch.testing.assert_close(net(graph, x), net.decoder(graph, end))
    assert net.trajectory(graph, x, [0.0, 0.5, 1.0]).ys.shape == (3, 5, 8)


def test_one_model_is_for_every_graph():
    net, x = model(), torch.randn(5, 6)
    for edges in (EDGES, EDGES[:, :4]):
        torch.testing.assert_close(net(edges, x), copy.deepcopy(net)(Graph(edges, 5), x))
    assert net.ode.field.graph is None  # it keeps none
    with pytest.raises(ShapeError, match="for a graph of 5 nodes"):
        net(Graph(EDGES, 5), x[:4])


def test_dropout_is_of_training_alone_and_one_mask_a_solve():
    net, graph, x = model(input_dropout=0.4, dropout=0.4, field_dropout=0.9), Graph(EDGES, 5), torch.randn(5, 6)
    assert not torch.equal(net(graph, x), net(graph, x))
    net.eval()
    assert torch.equal(net(graph, x), net(graph, x))
    with pytest.raises(OptionError, match=r"p=1\.0"):
        model(field_dropout=1.0)


def trained(net, graph, x, labels, steps):
    """The losses on the way."""
    optimizer, losses = torch.optim.Adam(net.parameters(), lr=1e-2), []
    for _ in range(steps):
        loss = nn.functional.cross_entropy(net(graph, x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_it_learns_the_ends_of_a_path():
    """Two classes by what nodes have, and a net of one's own in the field."""
    torch.manual_seed(0)
    graph, labels = Graph(EDGES, 5), torch.tensor([0, 0, 0, 1, 1])
    x = torch.randn(5, 6)
    net = GCDE(6, 8, 2, net=GraphSequential(GraphConv(8, 8), nn.Tanh()), **RK4)
    losses = trained(net, graph, x, labels, steps=60)
    assert losses[-1] < 0.1 < losses[0]
    assert all(bool(parameter.grad.any()) for parameter in net.parameters())


@pytest.mark.parametrize("normalised", [False, True])
def test_energy_is_the_quadratic_form_of_the_laplacian(normalised):
    weight = torch.tensor([1.0, 1.0, 2.0, 2.0, 0.5, 0.5, 3.0, 3.0], dtype=torch.float64)
    graph, x = Graph(EDGES, 5, weight), torch.randn(3, 5, 2, dtype=torch.float64)
    a = graph.sum(torch.eye(5, dtype=torch.float64))
    degree = a.sum(1)
    z = x / (1 + degree).sqrt()[:, None] if normalised else x
    want = torch.einsum("tnc,nm,tmc->t", z, torch.diag(degree) - a, z)
    torch.testing.assert_close(dirichlet_energy(graph, x, normalised=normalised), want)
    torch.testing.assert_close(dirichlet_energy(graph, x[0], normalised=normalised), want[0])


def test_diffusion_loses_energy_over_depth():
    torch.manual_seed(0)
    graph, x = Graph(EDGES, 5), torch.randn(5, 3)
    ys = solve(GraphField(GraphDiffusion(3), graph), x, torch.linspace(0, 20, 9)).ys.detach()
    energy = dirichlet_energy(graph, ys, normalised=False)
    assert bool((energy[1:] < energy[:-1]).all()) and float(energy[-1]) < 0.05 * float(energy[0])
    with pytest.raises(ShapeError, match="node features are"):
        dirichlet_energy(graph, x[:4])


NODES_KNOW = {"test_rows_do_not_know_each_other": "nodes are rows, and neighbours know each other"}


class TestLinearDiffusion(FieldSuite):
    shape = (5, 3)
    linear = True

    def make(self):
        torch.manual_seed(0)
        field = DiffusionField(GraphDiffusion(3, 4), Graph(EDGES, 5), linear=self.linear)
        nn.init.ones_(field.strength)
        return field

    expected_failures = NODES_KNOW


class TestDiffusion(TestLinearDiffusion):
    linear = False


class TestOscillators(FieldSuite):
    shape = (5, 6)

    def make(self):
        torch.manual_seed(0)
        return OscillatorField(GraphConv(3, 3), Graph(EDGES, 5), activation=torch.tanh)

    expected_failures = NODES_KNOW


def test_linear_diffusion_is_the_exponential_of_a_matrix():
    torch.manual_seed(0)
    graph, x = Graph(EDGES, 5), torch.randn(5, 3, dtype=torch.float64)
    field = DiffusionField(GraphDiffusion(3, 4).double(), graph, source=False).double()
    net = field.net
    a = graph.looped(True).sum(torch.eye(5, dtype=torch.float64), net.diffusivity(graph, x))
    torch.testing.assert_close(a.sum(1), torch.ones(5, dtype=torch.float64))
    end = solve(field, x, [0.0, 2.0], controller=PID(rtol=1e-9, atol=1e-9)).ys[-1]
    torch.testing.assert_close(end, torch.matrix_exp(0.5 * 2.0 * (a - torch.eye(5))) @ x, rtol=1e-7, atol=1e-7)


def test_the_source_is_the_initial_state():
    """Where nothing flows, as all nodes have the same, dx/dt = b x0."""
    field = DiffusionField(GraphDiffusion(3, 4), Graph(EDGES, 5))
    nn.init.constant_(field.strength, 2.0)
    x = torch.ones(5, 3)
    torch.testing.assert_close(solve(field, x, [0.0, 1.0]).ys[-1], 3 * x)


def test_oscillators_that_nothing_couples_swing():
    """x'' = -4 x."""
    field = OscillatorField(GraphConv(1, 1), Graph(EDGES, 5), stiffness=4.0, damping=0.0).double()
    for parameter in field.parameters():
        nn.init.zeros_(parameter)
    y = torch.tensor([[1.0, 0.0]], dtype=torch.float64).repeat(5, 1)
    end = solve(field, y, [0.0, 1.0], controller=PID(rtol=1e-9, atol=1e-9)).ys[-1]
    two = torch.tensor(2.0, dtype=torch.float64)
    want = torch.stack((two.cos(), -2 * two.sin()))
    torch.testing.assert_close(end, want.expand(5, 2), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GRAND(6, 8, 2, attention=4, heads=2, **RK4),
        lambda: GRAND(6, 8, 2, linear=False, **RK4),
        lambda: GraphCON(6, 8, 2, **RK4),
    ],
)
def test_models_learn_the_ends_of_a_path(make):
    torch.manual_seed(0)
    net, graph, labels = make(), Graph(EDGES, 5), torch.tensor([0, 0, 0, 1, 1])
    x = torch.randn(5, 6)
    losses = trained(net, graph, x, labels, steps=100)
    assert losses[-1] < 0.1 < losses[0]
    assert net.trajectory(graph, x, [0.0, 1.0]).ys.shape[:2] == (2, 5)


def test_fields_refuse_what_they_are_not_for():
    with pytest.raises(IncompatibleError, match="wanted a GraphDiffusion"):
        DiffusionField(GraphConv(2, 2))
    with pytest.raises(IncompatibleError, match="no solve has begun it"):
        DiffusionField(GraphDiffusion(2), Graph(EDGES, 5))(torch.tensor(0.0), torch.ones(5, 2))
    with pytest.raises(OptionError, match="damping=-1"):
        OscillatorField(GraphConv(2, 2), damping=-1)


class TestPictureOfTheEnergy:
    @pytest.fixture
    def plt(self):
        return pytest.importorskip("matplotlib.pyplot", reason="pictures are the extra `plot`")

    def test_it_shows_the_energies(self, plt):
        graph = Graph(EDGES, 5)
        path = solve(GraphField(GraphDiffusion(3), graph), torch.randn(5, 3), torch.linspace(0.0, 2.0, 5))
        stacked = torch.arange(3), torch.randn(3, 5, 4)
        figure = plot_dirichlet_energy(graph, {"diffusion": path, "layers": stacked})
        (first, second), axes = figure.axes[0].lines, figure.axes[0]
        assert first.get_xdata().tolist() == path.ts.tolist() and second.get_xdata().tolist() == [0, 1, 2]
        torch.testing.assert_close(
            torch.as_tensor(first.get_ydata()).float(), dirichlet_energy(graph, path.ys.detach())
        )
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["diffusion", "layers"]
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("depth t", "Dirichlet energy", "log")
        plt.close(figure)

    def test_one_has_no_legend_and_what_is_missing_is_said(self, plt, monkeypatch):
        figure = plot_dirichlet_energy(EDGES, (torch.arange(2), torch.randn(2, 5, 4)))
        assert figure.axes[0].get_legend() is None
        plt.close(figure)
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(MissingExtraError, match=r'pip install "torchdyn-graph\[plot\]"'):
            plot_dirichlet_energy(EDGES, (torch.arange(2), torch.randn(2, 5, 4)))


class TestSparseFeatures:
    """Sparse rows are what the same dense ones are, dropped entries included."""

    @pytest.mark.parametrize("layout", ["to_sparse_csr", "to_sparse_coo"])
    @pytest.mark.parametrize("kind", [GCDE, GRAND, GraphCON])
    def test_a_model_has_the_same_scores_and_gradients(self, kind, layout):
        torch.manual_seed(0)
        net, graph = kind(6, 8, 2, solver="rk4", controller=Fixed(steps=1)).double(), Graph(EDGES, 5)
        x = torch.where(torch.rand(5, 6) < 0.3, torch.randn(5, 6), 0.0).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says once a process that its sparse rows are young
            sparse = getattr(x, layout)()
        weights = tuple(net.parameters())
        want, got = net(graph, x), net(graph, sparse)
        torch.testing.assert_close(got, want)
        pairs = (torch.autograd.grad(out.square().sum(), weights) for out in (got, want))
        for one, two in zip(*pairs, strict=True):
            torch.testing.assert_close(one, two)

    @pytest.mark.parametrize("layout", ["to_sparse_csr", "to_sparse_coo"])
    def test_stored_entries_are_dropped_and_scaled(self, layout):
        torch.manual_seed(0)
        x = torch.eye(1000).mul(3.0)
        dropped = FeatureDropout(0.4)(getattr(x, layout)()).to_dense()
        kept = dropped.diagonal() != 0
        assert torch.equal(dropped, torch.diag(torch.where(kept, 3.0 / 0.6, 0.0)))
        assert 550 < kept.sum() < 650
        assert torch.equal(FeatureDropout(0.4).eval()(getattr(x, layout)()).to_dense(), x)

    def test_a_wide_convolution_takes_them_and_other_layouts_are_refused(self):
        layer, x = GraphConv(2, 5), torch.eye(5)[:, :2]
        torch.testing.assert_close(layer(Graph(EDGES, 5), x.to_sparse_coo()), layer(Graph(EDGES, 5), x))
        with pytest.raises(ShapeError, match="sparse_csc"):
            FeatureDropout(0.4)(x.to_sparse_csc())


def test_oscillators_have_as_many_velocities_as_places():
    field = OscillatorField(GraphConv(2, 2), Graph(EDGES, 5))
    for state in (torch.randn(5, 3), torch.randn(5)):
        with pytest.raises(ShapeError, match="as many velocities"):
            solve(field, state, [0.0, 1.0])


@pytest.mark.parametrize("kind", [GCDE, GRAND, GraphCON])
def test_shares_and_sizes_are_checked(kind):
    for wrong in ({"input_dropout": 1.0}, {"dropout": -0.1}):
        with pytest.raises(OptionError, match=r"p=-?[01]\.[01]; wanted a probability"):
            kind(6, 8, 2, **wrong)
    for sizes in ((0, 8, 2), (6, -1, 2), (6, 8, 0), (6, 8.0, 2)):
        with pytest.raises(OptionError, match="wanted a whole number >= 1"):
            kind(*sizes)


def test_the_energy_is_that_of_its_definition():
    weight = torch.rand(8, dtype=torch.float64)
    graph, x = Graph(EDGES, 5, weight), torch.randn(3, 5, 2, dtype=torch.complex128)
    degree = torch.zeros(5, dtype=torch.float64).index_add(0, EDGES[1], weight)
    for normalised in (True, False):
        scaled = x / (1 + degree).sqrt()[:, None] if normalised else x
        steps = (scaled[:, EDGES[0]] - scaled[:, EDGES[1]]).abs().square().sum(-1)
        want = 0.5 * (steps * weight).sum(-1)
        torch.testing.assert_close(dirichlet_energy(graph, x, normalised=normalised), want)
        torch.testing.assert_close(dirichlet_energy(graph, x[0], normalised=normalised), want[0])
    assert dirichlet_energy(graph, x[:0]).shape == (0,)
    with pytest.raises(ShapeError, match=r"wanted \(N, C\)"):
        dirichlet_energy(graph, x[0, :, 0])
