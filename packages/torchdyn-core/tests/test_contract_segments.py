"""A batch of graphs: rows in segments, each segment a sample with steps of its own."""

import torch

from torchdyn_core import PID, Checkpointed, Direct, VectorField, solve

DTYPE = torch.float64


class Diffusion(VectorField):
    """Heat on the edges of a graph, at a rate of each graph's own."""

    def __init__(self, edges, rates):
        super().__init__()
        self.register_buffer("edges", edges)
        self.rates = torch.nn.Parameter(rates)

    def forward(self, t, y):
        source, target = self.edges
        flow = y[source] - y[target]
        return self.rates * (
            torch.zeros_like(y).index_add(0, target, flow) - torch.zeros_like(y).index_add(0, source, flow)
        )


def graphs():
    torch.manual_seed(0)
    edges = torch.tensor([[0, 2, 1, 3], [2, 4, 3, 5]])
    ids = torch.tensor([0, 1, 0, 1, 0, 1])
    rates = torch.tensor([1.0, 40.0], dtype=DTYPE)[ids, None]
    return Diffusion(edges, rates), ids, torch.randn(6, 3, dtype=DTYPE)


def test_each_graph_steps_as_it_does_alone():
    field, ids, y0 = graphs()
    controller = PID(rtol=1e-6, atol=1e-6)
    ts = torch.linspace(0.0, 1.0, 5, dtype=DTYPE)
    both = solve(field, y0, ts, per_sample=ids, controller=controller)
    for graph in (0, 1):
        mine = ids == graph
        place = torch.cumsum(mine, 0) - 1
        edges = place[field.edges[:, mine[field.edges[0]]]]
        alone = solve(
            Diffusion(edges, field.rates.detach()[mine]), y0[mine], ts,
            per_sample=torch.zeros(3, dtype=torch.long), controller=controller,
        )  # fmt: skip
        assert int(alone.stats.accepted[0]) == int(both.stats.accepted[graph])
        torch.testing.assert_close(both.ys[:, mine], alone.ys, rtol=1e-14, atol=1e-14)
    assert both.stats.accepted[1] > 2 * both.stats.accepted[0]


def test_segments_have_one_gradient():
    def run(adjoint):
        field, ids, y0 = graphs()
        y0.requires_grad_()
        ys = solve(field, y0, [0.0, 1.0], per_sample=ids, adjoint=adjoint, controller=PID(rtol=1e-6, atol=1e-6)).ys
        return torch.autograd.grad(ys.square().sum(), [y0, field.rates])

    for a, b in zip(run(Checkpointed()), run(Direct()), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_field_begins_with_the_times_of_its_rows():
    """One for each row, whichever segment it is of: `begin` sees times as `forward` does."""
    seen = []

    class Watching(VectorField):
        def begin(self, t0, t1, y0):
            seen.append((t0.tolist(), t1.tolist()))
            return self

        def forward(self, t, y):
            return -y

    ids, y0 = torch.tensor([0, 1, 0]), torch.ones(3, 2, dtype=DTYPE)
    solve(Watching(), y0, torch.tensor([[0.0, 1.0], [2.0, 4.0]], dtype=DTYPE), per_sample=ids)
    solve(Watching(), y0, torch.tensor([[0.0, 1.0, 2.0], [2.0, 4.0, 6.0]], dtype=DTYPE), per_sample=True)
    solve(Watching(), y0, torch.tensor([0.0, 2.0], dtype=DTYPE))
    assert seen == [([0.0, 1.0, 0.0], [2.0, 4.0, 2.0]), ([0.0, 1.0, 2.0], [2.0, 4.0, 6.0]), (0.0, 2.0)]
