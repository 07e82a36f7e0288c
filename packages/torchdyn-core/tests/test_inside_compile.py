"""A solve inside a model that its user compiles or exports: fixed steps are a part of its graph."""

import io
import re

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from torchdyn_core import (
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
)

pytestmark = [
    pytest.mark.usefixtures("no_traces"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),  # torch's own, at any break
]

TWO = Fixed(steps=2)
TS = torch.linspace(0.0, 1.0, 3, dtype=torch.float64)
X = torch.tensor([[0.5, -1.0, 0.3], [2.0, 0.1, -0.4], [0.0, 0.3, 1.1], [0.7, 0.2, 0.9]], dtype=torch.float64)
Y = X[:, :2]


def net(width=2):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 4), nn.Tanh(), nn.Linear(4, width)).double()


def layer(field=None, **options):
    return NeuralODE(autonomous(net()) if field is None else field, **options)


def decay(t, y):
    return -y * t


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
    "defaults": lambda around: around(layer(controller=TWO)),
    "trajectory": lambda around: around(
        layer(solver="rk4", controller=TWO), lambda node, y: node.trajectory(y, [0, 0.3, 0.4, 1.0]).ys
    ),
    "tree": lambda around: around(layer(solver="rk4", controller=TWO), tree),
    "begun": lambda around: around(layer(Controlled(), solver="heun", controller=Fixed(grid=[0.0, 0.3, 1.0]))),
    "drawn": lambda around: around(
        layer(autonomous(nn.Sequential(net(), SolveDropout(0.5))), solver="midpoint", controller=TWO)
    ),
    "differentiates": lambda around: around(layer(Downhill(), solver="midpoint", controller=TWO, t0=1.0, t1=0.0)),
    "padded": lambda around: around(layer(autonomous(net(3)), solver="heun", controller=TWO, augmentation=Padded())),
    "saved": lambda around: around(
        layer(solver="heun", controller=Fixed(dt=0.4), save=lambda t, y: y * t, adjoint=Direct())
    ),
}


@pytest.mark.parametrize("name", FIXED)
def test_fixed_steps_are_a_part_of_one_graph_with_the_values_and_gradients_of_eager_ones(around, name):
    model = FIXED[name](around)
    want = value_and_gradients(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    assert_equal(value_and_gradients(model, compiled), want)
    with torch._dynamo.config.patch(error_on_recompile=True):
        value_and_gradients(model, compiled)


def test_a_field_that_draws_random_numbers_is_evaluated_once_a_step(around):
    def made(**options):
        return around(
            layer(autonomous(nn.Sequential(net(), nn.Dropout(0.5))), solver="euler", controller=TWO, **options)
        )

    want = value_and_gradients(made(adjoint="direct"))
    model = made()
    with pytest.raises(IncompatibleError, match="draws random numbers"):
        model(X)
    assert_equal(value_and_gradients(model, torch.compile(model, backend="aot_eager", fullgraph=True)), want)


def test_without_gradients_too(around):
    model = around(layer(solver="heun", controller=TWO))
    for context in (torch.no_grad, torch.inference_mode):
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        with context():
            assert_equal(compiled(X), model(X))


def test_a_checkpointed_region_around_a_layer_is_a_part_of_the_graph(around):
    model = around(layer(solver="heun", controller=TWO), lambda node, y: checkpoint(node, y, use_reentrant=False))
    want = value_and_gradients(model)
    assert_equal(value_and_gradients(model, torch.compile(model, backend="aot_eager", fullgraph=True)), want)


def test_numbers_that_change_stay_numbers(around, backend):
    """Dynamo makes symbols of them, and a number of steps cannot follow from a symbol."""
    model = around(layer(solver="euler", controller=Fixed(dt=0.25)))
    compiled = torch.compile(model, backend=backend, fullgraph=True)
    for t1 in (1.0, 0.5, 0.7, 1.0):
        model.node.t1 = t1
        assert_equal(compiled(X), model(X))
    assert len(backend.graphs) == 3


def test_a_batch_of_another_size_is_a_symbol(around, backend):
    model = around(layer(solver="heun", controller=TWO))
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
def test_an_exported_program_is_the_model(around, strict):
    model = around(layer(solver="rk4", controller=TWO))
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
def test_an_exported_program_has_no_loop_or_gradient_of_its_own(around, options):
    model = around(layer(solver="euler", controller=TWO, **options))
    want = around(layer(solver="euler", controller=TWO))(X)
    assert_equal(torch.export.export(model, (X,)).module()(X), want)


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
