"""A solve inside a model that its user compiles or exports."""

import io
import re

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

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
    SolveDropout,
    UnknownComponentError,
    UnknownOptionError,
    VectorField,
    autonomous,
    solve,
    untraced,
)
from torchdyn_core.compiled.driver import entries
from torchdyn_core.solve import _OPTIONS

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch's own, at any break

TWO = Fixed(steps=2)
TS = torch.linspace(0.0, 1.0, 3, dtype=torch.float64)
X = torch.tensor([[0.5, -1.0, 0.3], [2.0, 0.1, -0.4], [0.0, 0.3, 1.1], [0.7, 0.2, 0.9]], dtype=torch.float64)
Y = X[:, :2]


@pytest.fixture(autouse=True)
def _no_traces():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def net(width=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, width)).double()


def layer(field=None, **options):
    return NeuralODE(autonomous(net()) if field is None else field, **options)


def decay(t, y):
    return -y * t


class Model(nn.Module):
    """A user's model: something before a solve, something behind it."""

    def __init__(self, node, read=None):
        super().__init__()
        torch.manual_seed(1)
        self.before, self.node, self.behind = nn.Linear(3, 2).double(), node, nn.Linear(2, 1).double()
        self.read = read

    def forward(self, x):
        y = self.before(x)
        return self.behind(self.node(y) if self.read is None else self.read(self.node, y))


class Backend:
    """Runs graphs as they are, and keeps them."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        return graph.forward


def value_and_gradients(model, call=None):
    torch.manual_seed(2)
    model.zero_grad()
    value = (model if call is None else call)(X)
    value.square().sum().backward()
    return [value.detach(), *(p.grad for p in model.parameters())]


def assert_equal(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


class Controlled(VectorField):
    """A field that takes a control from an encoder when it begins."""

    def __init__(self):
        super().__init__()
        self.encoder, self.net = nn.Linear(2, 2).double(), net()

    def begin(self, t0, t1, y0):
        return self.replace(control=self.encoder(y0))

    def forward(self, t, y):
        return torch.sin(t) * self.net(y) + self.control


class Downhill(VectorField):
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, t, y):
        return -torch.func.grad(lambda z: self.net(z).square().sum())(y)


class Padded:
    def lift(self, y):
        return torch.cat([y, y.new_zeros(*y.shape[:-1], 1)], -1)

    def project(self, y):
        return y[..., :-1]


def tree(node, y):
    """A solve of its own, on a tree, with arguments and all that is read off steps."""
    solution = solve(
        lambda t, z, w: {"p": node.field(t, z["q"]) + w, "q": -z["p"] * t}, {"p": y, "q": 2 * y}, (1.0, 0.5, -0.2),
        args=torch.tanh(y), solver="midpoint", controller=Fixed(dt=0.7), record_steps=True,
        integral_loss=lambda t, z: (z["p"] * z["q"]).sum(-1, keepdim=True),
    )  # fmt: skip
    return solution.ys["p"][1] + solution.steps[1]["q"].sum(0) + solution.integral


FIXED = {
    "defaults": lambda: Model(layer(controller=TWO)),
    "trajectory": lambda: Model(
        layer(solver="rk4", controller=TWO), lambda node, y: node.trajectory(y, [0, 0.3, 0.4, 1.0]).ys
    ),
    "tree": lambda: Model(layer(solver="rk4", controller=TWO), tree),
    "begun": lambda: Model(layer(Controlled(), solver="heun", controller=Fixed(grid=[0.0, 0.3, 1.0]))),
    "drawn": lambda: Model(
        layer(autonomous(nn.Sequential(net(), SolveDropout(0.5))), solver="midpoint", controller=TWO)
    ),
    "differentiates": lambda: Model(layer(Downhill(), solver="midpoint", controller=TWO, t0=1.0, t1=0.0)),
    "padded": lambda: Model(layer(autonomous(net(3)), solver="heun", controller=TWO, augmentation=Padded())),
    "saved": lambda: Model(layer(solver="heun", controller=Fixed(dt=0.4), save=lambda t, y: y * t, adjoint=Direct())),
}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_steps_are_a_part_of_one_graph_with_the_values_and_gradients_of_eager_ones(name):
    model = FIXED[name]()
    want = value_and_gradients(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_equal(value_and_gradients(model, compiled), want)
    with torch._dynamo.config.patch(error_on_recompile=True):
        value_and_gradients(model, compiled)


def test_a_field_that_draws_random_numbers_is_evaluated_once_a_step():
    def made(**options):
        return Model(
            layer(autonomous(nn.Sequential(net(), nn.Dropout(0.5))), solver="euler", controller=TWO, **options)
        )

    want = value_and_gradients(made(adjoint="direct"))
    model = made()
    with pytest.raises(IncompatibleError, match="draws random numbers"):
        model(X)
    assert_equal(value_and_gradients(model, torch.compile(model, backend="aot_eager", fullgraph=True)), want)


def test_without_gradients_too():
    model = Model(layer(solver="heun", controller=TWO))
    for context in (torch.no_grad, torch.inference_mode):
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        with context():
            assert_equal(compiled(X), model(X))


def test_a_checkpointed_region_around_a_layer_is_a_part_of_the_graph():
    model = Model(layer(solver="heun", controller=TWO), lambda node, y: checkpoint(node, y, use_reentrant=False))
    want = value_and_gradients(model)
    assert_equal(value_and_gradients(model, torch.compile(model, backend="aot_eager", fullgraph=True)), want)


def test_numbers_that_change_stay_numbers():
    """Dynamo makes symbols of them, and a number of steps cannot follow from a symbol."""
    model, backend = Model(layer(solver="euler", controller=Fixed(dt=0.25))), Backend()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for t1 in (1.0, 0.5, 0.7, 1.0):
        model.node.t1 = t1
        assert_equal(compiled(X), model(X))
    assert len(backend.graphs) == 3


def test_a_batch_of_another_size_is_a_symbol():
    model, backend = Model(layer(solver="heun", controller=TWO)), Backend()
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for size in (4, 3, 2):
        assert_equal(compiled(X[:size]), model(X[:size]))
    assert len(backend.graphs) == 2


def test_names_and_controllers_are_found_while_a_function_is_traced():
    def function(y):
        y = solve(decay, y, [0.0, 1.0], solver="rk4", controller=Fixed(grid=[0.0, 0.4, 1.0])).ys[-1]
        return solve(decay, y, [0.0, 1.0], solver="euler", controller=Fixed(dt=0.5), adjoint="direct").ys[-1]

    compiled = torch.compile(function, backend="eager", fullgraph=True)
    assert_equal(compiled(Y), function(Y))
    torch.compile(lambda y: solve(decay, y, [0.0, 1.0], solver="heun", controller=TWO).ys, backend="eager")(Y)
    with torch._dynamo.config.patch(error_on_recompile=True):
        compiled(Y)  # whatever is looked up later


def test_a_solution_of_a_graph_goes_on_outside_of_it():
    def begun(y):
        return solve(decay, y, [0.0, 1.0], solver="rk4", controller=Fixed(dt=0.3))

    traced, eager = torch.compile(begun, backend="eager", fullgraph=True)(Y), begun(Y)
    assert traced.success and bool(traced.valid.all()) and traced.stats == eager.stats

    def went_on(solution):
        return solve(decay, solution.final, [1.0, 2.0], solver="rk4", controller=Fixed(dt=0.3)).ys

    assert_equal(went_on(traced), went_on(eager))


@pytest.mark.parametrize("strict", [False, True])
def test_an_exported_program_is_the_model(strict):
    model = Model(layer(solver="rk4", controller=TWO))
    want = value_and_gradients(model)
    shapes = ({0: torch.export.Dim("batch", max=64)},)
    program = torch.export.export(model, (X,), dynamic_shapes=shapes, strict=strict)
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    value, *gradients = value_and_gradients(loaded)
    assert_equal(value, want[0])
    order = [name for name, _ in loaded.named_parameters()]
    assert_equal(
        dict(zip(order, gradients, strict=True)), dict(zip(dict(model.named_parameters()), want[1:], strict=True))
    )
    assert_equal(loaded(X[:3]), model(X[:3]))


@pytest.mark.parametrize("options", [{"compile": True}, {"adjoint": "backsolve"}, {"adjoint": Checkpointed(memory=4)}])
def test_an_exported_program_has_no_loop_or_gradient_of_its_own(options):
    model = Model(layer(solver="euler", controller=TWO, **options))
    want = Model(layer(solver="euler", controller=TWO))(X)
    assert_equal(torch.export.export(model, (X,)).module()(X), want)


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
    ],
)
def test_export_says_what_it_cannot_follow(node, read, reason):
    model = Model(node(), read)
    with pytest.raises(IncompatibleError, match=reason):
        torch.export.export(model, (X,), strict=False)
    with pytest.raises(Exception, match=reason):
        torch.export.export(model, (X,), strict=True)


APART = {
    "adaptive": lambda: Model(layer()),
    "per sample": lambda: Model(layer(solver="rk4", controller=TWO, per_sample=True)),
    "jumps": lambda: Model(layer(Jumping(), solver="rk4", controller=TWO)),
    "backsolve": lambda: Model(layer(solver="rk4", controller=TWO, adjoint="backsolve")),
    "bounded": lambda: Model(layer(solver="rk4", controller=TWO, adjoint=Checkpointed(memory=4))),
    "trajectory": lambda: Model(layer(solver="rk4", controller=TWO), lambda node, y: node.trajectory(y, TS).ys),
    "solve": lambda: Model(layer(), lambda node, y: solve(node.field, y, (0.0, 1.0), controller=PID(rtol=1e-5)).ys[-1]),
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
def test_what_depends_on_values_breaks_a_model_once_and_traces_nothing_again(name):
    model, twin, backend = APART[name](), APART[name](), Backend()
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


def test_a_layer_with_a_compiled_loop_breaks_a_model_once_and_runs_that_loop():
    def made():
        return Model(layer(autonomous(nn.Linear(2, 2).double()), solver="euler", controller=TWO, compile="require"))

    torch.manual_seed(0)
    model, backend, before = made(), Backend(), entries()
    torch.manual_seed(0)
    twin = made()
    twin.node.options["compile"] = False
    compiled = torch.compile(model, backend=backend)
    with torch._dynamo.config.patch(error_on_recompile=True):
        losses = train(model, compiled)
    assert len(backend.graphs) == 2
    assert entries() == before + 20
    torch.testing.assert_close(losses, train(twin, twin), rtol=1e-8, atol=1e-10)


def test_layers_with_options_of_their_own_are_met_by_one_trace():
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

    model, backend, alive = Four(), Backend(), Y.clone().requires_grad_()
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


@pytest.mark.parametrize(
    ("error", "function"),
    [
        (UnknownComponentError, lambda y: solve(decay, y, [0.0, 1.0], solver="rk5", controller=TWO)),
        (UnknownOptionError, lambda y: solve(decay, y, [0.0, 1.0], solvre="rk4", controller=TWO)),
        (ShapeError, lambda y: solve(decay, y, [0.0, 1.0, 0.5], solver="euler", controller=TWO)),
        (ShapeError, lambda y: solve(decay, y, [0.0, float("nan")], solver="euler", controller=TWO)),
        (ShapeError, lambda y: solve(decay, y.long(), [0.0, 1.0], solver="euler", controller=TWO)),
        (ShapeError, lambda y: solve(lambda t, y: y[0], y, [0.0, 1.0], solver="euler", controller=TWO)),
        (ShapeError, lambda y: solve(decay, y, [0.0, 1.0], solver="euler", controller=Fixed(grid=[0.0, 2.0]))),
        (IntegrationError, lambda y: solve(decay, y, [0.0, 1.0], solver="euler", controller=TWO, max_steps=1)),
    ],
)
def test_bad_input_raises_in_a_traced_solve(error, function):
    with pytest.raises(error) as wanted:
        function(Y)
    message = re.escape(str(wanted.value))
    with pytest.raises(error, match=message):
        torch.compile(function, backend="eager")(Y)
    if error is not IntegrationError:  # it is made from a solution, which Dynamo does not follow
        torch._dynamo.reset()
        with pytest.raises(torch._dynamo.exc.Unsupported, match=message):
            torch.compile(function, backend="eager", fullgraph=True)(Y)


def test_the_status_of_a_traced_solve_tells_of_nan():
    def function(y, rate):
        return solve(lambda t, y: rate * y, y, [0.0, 0.5, 1.0], solver="euler", controller=TWO)

    compiled = torch.compile(function, backend="eager", fullgraph=True)
    assert compiled(Y, torch.ones(())).success
    bad = compiled(Y, torch.tensor(torch.nan))
    assert not bad.success and not bad.valid.any() and bool(bad.ys[-1].isnan().all())
    with pytest.raises(torch._dynamo.exc.UserError, match="data-dependent"):  # what torch says of any look at a value
        torch.compile(lambda y: y if function(y, 1.0).success else -y, backend="eager", fullgraph=True)(Y)


def test_a_field_that_writes_to_its_state_writes_to_a_copy():
    def careless(t, y):
        t.add_(1.0)
        return y.mul_(2.0)

    def function(y):
        return solve(careless, y, [0.0, 1.0], solver="euler", controller=TWO).ys

    with pytest.raises(IncompatibleError, match="in place"):
        function(Y)
    want = solve(lambda t, y: 2 * y, Y, [0.0, 1.0], solver="euler", controller=TWO).ys
    assert_equal(torch.compile(function, backend="aot_eager", fullgraph=True)(Y), want)


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
