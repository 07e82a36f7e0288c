"""A solve inside a compiled model: what depends on values runs outside of the graph, or says that it cannot."""

import pytest
import torch
from torch import nn

from torchdyn_core import (
    PID,
    RK4,
    Checkpointed,
    Direct,
    Fixed,
    IncompatibleError,
    IntegrationError,
    NeuralODE,
    ShapeError,
    VectorField,
    autonomous,
    solve,
    untraced,
)
from torchdyn_core.compiled.driver import entries
from torchdyn_core.solve import _OPTIONS

pytestmark = [
    pytest.mark.usefixtures("no_traces"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # torch's own, at any break
]

TWO = Fixed(steps=2)
TS = torch.linspace(0.0, 1.0, 3, dtype=torch.float64)
X = torch.tensor([[0.5, -1.0, 0.3], [2.0, 0.1, -0.4], [0.0, 0.3, 1.1], [0.7, 0.2, 0.9]], dtype=torch.float64)
Y = X[:, :2]


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()


def layer(field=None, **options):
    return NeuralODE(autonomous(net()) if field is None else field, **options)


def decay(t, y):
    return -y * t


def assert_equal(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


class Jumping(VectorField):
    def breakpoints(self, t0, t1):
        return torch.tensor([0.5])

    def forward(self, t, y):
        return -y


@pytest.mark.parametrize(
    ("node", "read", "reason"),
    [
        (lambda: layer(), None, "wanted controller=Fixed"),
        (lambda: layer(solver="rk4", controller=TWO, per_sample=True), None, "wanted per_sample=False"),
        (lambda: layer(solver="rk4", controller=TWO, dense=True), None, "wanted dense=False"),
        (lambda: layer(solver="rk4", controller=Fixed(steps=2, jump_ts=[0.5])), None, "end at jumps"),
        (lambda: layer(Jumping(), solver="rk4", controller=TWO), None, "end at jumps"),
        (
            lambda: layer(solver="rk4", controller=TWO),
            lambda node, y: node.trajectory(y, TS).ys,
            "list of numbers",
        ),
        (lambda: layer(solver="rk4", controller=TWO, compile="require"), None, "wanted compile=False, or True"),
    ],
)
def test_export_says_what_it_cannot_follow(around, node, read, reason):
    model = around(node(), read)
    with pytest.raises(IncompatibleError, match=reason):
        torch.export.export(model, (X,), strict=False)
    with pytest.raises(Exception, match=reason):
        torch.export.export(model, (X,), strict=True)


APART = {
    "adaptive": lambda around: around(layer()),
    "per sample": lambda around: around(layer(solver="rk4", controller=TWO, per_sample=True)),
    "jumps": lambda around: around(layer(Jumping(), solver="rk4", controller=TWO)),
    "backsolve": lambda around: around(layer(solver="rk4", controller=TWO, adjoint="backsolve")),
    "bounded": lambda around: around(layer(solver="rk4", controller=TWO, adjoint=Checkpointed(memory=4))),
    "trajectory": lambda around: around(layer(solver="rk4", controller=TWO), lambda node, y: node.trajectory(y, TS).ys),
    "solve": lambda around: around(
        layer(), lambda node, y: solve(node.field, y, (0.0, 1.0), controller=PID(rtol=1e-5)).ys[-1]
    ),
}


def train(model, call, steps=20):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = call(X).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


@pytest.mark.parametrize("name", APART)
def test_what_depends_on_values_breaks_a_model_once_and_traces_nothing_again(around, backend, name):
    model, twin = APART[name](around), APART[name](around)
    compiled = torch.compile(model, backend=backend)
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(error_on_recompile=True):
        losses = train(model, compiled)
    assert_equal(losses, train(twin, twin))
    assert len(backend.graphs) == 2, "one break"
    [reason] = torch._dynamo.utils.counters["graph_break"]
    assert "its steps depend on values" in reason


def test_in_a_loop_of_layers_a_break_gives_up_the_loop_and_keeps_its_values():
    """Dynamo resumes behind a break, but not inside a loop."""

    def made():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(3, 2).double(), layer(), nn.Linear(2, 1).double())

    model, twin = made(), made()
    with torch._dynamo.config.patch(error_on_recompile=True):
        losses = train(model, torch.compile(model, backend="eager"), steps=3)
    assert_equal(losses, train(twin, twin, steps=3))


def test_a_layer_with_a_compiled_loop_breaks_a_model_once_and_runs_that_loop(around, backend):
    def made():
        return around(layer(autonomous(nn.Linear(2, 2).double()), solver="euler", controller=TWO, compile="require"))

    torch.manual_seed(0)
    model, before = made(), entries()
    torch.manual_seed(0)
    twin = made()
    twin.node.options["compile"] = False
    compiled = torch.compile(model, backend=backend)
    with torch._dynamo.config.patch(error_on_recompile=True):
        losses = train(model, compiled)
    assert len(backend.graphs) == 2
    assert entries() == before + 20
    torch.testing.assert_close(losses, train(twin, twin), rtol=1e-8, atol=1e-10)


def test_layers_with_options_of_their_own_are_met_by_one_trace(backend):
    class Four(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = layer(), layer(solver="dopri5", t1=2.0)
            self.c, self.d = layer(controller=PID(rtol=1e-5)), layer(per_sample=True, adjoint="direct")

        def forward(self, y):
            y = self.a(2 * y) + 1
            y = self.b(2 * y) + 1
            y = self.c(2 * y) + 1
            return self.d(2 * y) + 1

    model, alive = Four(), Y.clone().requires_grad_()
    compiled = torch.compile(model, backend=backend)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            assert_equal(compiled(alive), model(alive))
    assert len(backend.graphs) == 5


def test_every_option_reaches_a_solve_outside_of_the_graph(monkeypatch):
    given = dict(
        args=torch.ones(()), solver=RK4(), controller=Fixed(dt=0.3), adjoint=Direct(), save=lambda t, y: y,
        integral_loss=lambda t, y: y, record_steps=True, dense=True, per_sample=True, max_steps=77, compile=True,
        throw=False, progress=True,
    )  # fmt: skip
    assert given.keys() == _OPTIONS.keys()
    taken = {}

    @torch.compiler.disable
    def apart(function, field, y0, ts, **options):
        taken.update(options)

    monkeypatch.setattr(untraced, "apart", apart)
    torch.compile(lambda y: solve(decay, y, [0.0, 1.0], **given), backend="eager")(Y)
    assert taken.keys() == given.keys()
    assert all(taken[name] is given[name] for name in given)


def test_a_field_that_cannot_be_traced_breaks_the_graph_and_keeps_its_values():
    def branching(t, y):
        return -y if bool(y.sum() > 0) else y * t

    def function(y):
        return solve(branching, y, [0.0, 1.0], solver="euler", controller=TWO).ys

    assert_equal(torch.compile(function, backend="eager")(Y), function(Y))


@pytest.mark.parametrize(
    "busy", [torch.compiler._compile_session_context, torch._export.utils._compiling_state_context]
)
def test_an_eager_solve_is_checked_while_another_thread_compiles(busy):
    """What torch knows of that, it knows for the whole process."""
    noisy = layer(autonomous(nn.Sequential(net(), nn.Dropout(0.5))), solver="euler", controller=TWO)
    with busy():
        with pytest.raises(ShapeError, match="NaN"):
            solve(decay, Y * torch.nan, [0.0, 1.0], solver="euler", controller=TWO)
        with pytest.raises(IncompatibleError, match="draws random numbers"):
            noisy(Y)
        with pytest.raises(IntegrationError):
            solve(lambda t, y: y * torch.nan, Y, [0.0, 1.0], solver="euler", controller=TWO)
        assert layer()(Y).isfinite().all()
