"""Every leaf that a field can reach is found, or refused: no gradient is silently zero."""

import functools
import types

import pytest
import torch
from torch import nn

from torchdyn_core import (
    Checkpointed,
    Fixed,
    GradientError,
    IncompatibleError,
    SolveDropout,
    Solver,
    State,
    Step,
    VectorField,
    autonomous,
    solve,
)
from torchdyn_core.leaves import reach

DTYPE = torch.float64
TS = torch.tensor([0.0, 1.0], dtype=DTYPE)
Y0 = torch.ones(2, dtype=DTYPE)
LEAVES = types.SimpleNamespace(w=torch.tensor(0.5, dtype=DTYPE, requires_grad=True))
GLOBAL = torch.tensor(0.5, dtype=DTYPE, requires_grad=True)


def leaf():
    return torch.tensor(0.5, dtype=DTYPE, requires_grad=True)


def by_closure():
    w = leaf()
    return lambda t, y: -w * y, w


def by_nested_closure():
    w = leaf()
    inner = lambda y: -w * y  # noqa: E731
    return lambda t, y: inner(y), w


def by_global():
    return lambda t, y: -GLOBAL * y, GLOBAL


def by_attribute_of_a_global():
    return lambda t, y: -LEAVES.w * y, LEAVES.w


def by_partial():
    w = leaf()
    return functools.partial(lambda rate, t, y: -rate * y, w), w


def by_default():
    w = leaf()

    def field(t, y, rate=w):
        return -rate * y

    return field, w


def by_method():
    class Holder:
        def __init__(self):
            self.parts = {"w": [leaf()]}

        def slope(self, t, y):
            return -self.parts["w"][0] * y

    holder = Holder()
    return holder.slope, holder.parts["w"][0]


def by_callable_object():
    class Slotted:
        __slots__ = ("w",)

        def __init__(self):
            self.w = leaf()

        def __call__(self, t, y):
            return -self.w * y

    field = Slotted()
    return field, field.w


def by_module_in_a_list():
    class Field(VectorField):
        def __init__(self):
            super().__init__()
            self.hidden = [nn.Linear(2, 2, dtype=DTYPE)]  # not registered

        def forward(self, t, y):
            return self.hidden[0](y)

    field = Field()
    return field, field.hidden[0].weight


def by_plain_tensor_of_a_module():
    class Field(VectorField):
        def __init__(self):
            super().__init__()
            self.w = leaf()  # neither parameter nor buffer

        def forward(self, t, y):
            return -self.w * y

    field = Field()
    return field, field.w


WAYS = [
    by_closure, by_nested_closure, by_global, by_attribute_of_a_global, by_partial, by_default, by_method,
    by_callable_object, by_module_in_a_list, by_plain_tensor_of_a_module,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("adjoint", ["checkpointed", "backsolve"])
def test_a_leaf_is_found_wherever_it_is_held(way, adjoint):
    field, w = way()
    assert any(found is w for found in reach(field).leaves)
    (got,) = torch.autograd.grad(solve(field, Y0, TS, adjoint=adjoint).ys[-1].sum(), w)
    (want,) = torch.autograd.grad(solve(field, Y0, TS, adjoint="direct").ys[-1].sum(), w)
    assert want.abs().max() > 0.1
    torch.testing.assert_close(got, want, rtol=1e-10 if adjoint == "checkpointed" else 2e-2, atol=0)


def hidden_leaf_field(after):
    """A leaf behind a generator, where no walk gets to; used only late in the span."""
    w = leaf()

    def endless():
        while True:
            yield w

    box = endless()
    return lambda t, y: -y * (next(box) if t > after else 1.0), w


@pytest.mark.parametrize("adjoint", ["checkpointed", Checkpointed(memory=4), "backsolve"])
def test_a_leaf_that_is_used_only_in_the_last_tenth_is_found_out(adjoint):
    field, _ = hidden_leaf_field(0.9)
    y0 = Y0.clone().requires_grad_()
    solution = solve(field, y0, TS, adjoint=adjoint, controller=Fixed(steps=20), solver="rk4")
    with pytest.raises(GradientError, match=r"Pass it through args"):
        solution.ys[-1].sum().backward()
    with pytest.raises(GradientError, match="args"):
        solve(hidden_leaf_field(-1.0)[0], Y0, TS, adjoint=adjoint)


@pytest.mark.parametrize("adjoint", ["checkpointed", "backsolve"])
def test_a_derived_tensor_in_a_closure_is_refused_and_args_carry_it(adjoint):
    w = leaf()
    derived = 2 * w
    with pytest.raises(GradientError, match=r"derived .*args="):
        solve(lambda t, y: -derived * y, Y0, TS, adjoint=adjoint)
    ys = solve(lambda t, y, rate: -rate * y, Y0, TS, adjoint=adjoint, args=derived).ys
    (got,) = torch.autograd.grad(ys[-1].sum(), w)
    torch.testing.assert_close(got, torch.tensor(-4 * torch.e**-1, dtype=DTYPE), rtol=2e-2, atol=0)


@pytest.mark.parametrize("adjoint", ["checkpointed", "backsolve"])
def test_weights_put_in_by_functional_call_keep_their_graph(adjoint):
    net = autonomous(nn.Linear(2, 2, dtype=DTYPE))
    scale = leaf()
    weights = {name: scale * p.detach() for name, p in net.named_parameters()}

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.field = net

        def forward(self, y0, adjoint):
            return solve(self.field, y0, TS, adjoint=adjoint).ys[-1]

    layer = Layer()
    named = {f"field.{name}": value for name, value in weights.items()}
    results = [
        torch.autograd.grad(torch.func.functional_call(layer, named, (Y0, a)).sum(), scale, retain_graph=True)[0]
        for a in (adjoint, "direct")
    ]
    assert results[1].abs() > 1e-3
    torch.testing.assert_close(results[0], results[1], rtol=2e-2, atol=1e-4)


def test_parameters_of_a_solver_get_gradients():
    class HyperEuler(nn.Module, Solver):
        """Euler with a learned correction (Poli et al. 2020, arXiv 2007.09601)."""

        order, dense_order = 1, 1

        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2, dtype=DTYPE)

        def init(self, field, t0, t1, y0):
            return State()

        def step(self, field, t0, t1, y, state):
            dt = t1 - t0
            return Step(y + dt * field(t0, y) + dt**2 * self.net(y), None, State(), (), True, 1)

        def interpolate(self, theta, t0, t1, y0, y1, dense):
            return y0 + theta.reshape(theta.shape + (1,) * (y0.dim() - theta.dim())) * (y1 - y0)

    solver = HyperEuler()
    grads = []
    for adjoint in ("direct", "checkpointed"):
        ys = solve(lambda t, y: -y, Y0, TS, solver=solver, controller=Fixed(steps=5), adjoint=adjoint).ys
        grads.append(torch.autograd.grad(ys[-1].sum(), list(solver.parameters())))
    for a, b in zip(*grads, strict=True):
        assert a.abs().max() > 1e-3
        torch.testing.assert_close(a, b, rtol=1e-12, atol=0)


def late_dropout(t, y):
    return nn.functional.dropout(-y, 0.5) if t > 0.9 else -y


class Counting(VectorField):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, t, y):
        self.count += 1
        return -y


@pytest.mark.parametrize("adjoint", ["checkpointed", "backsolve"])
def test_random_fields_and_changing_buffers_are_refused_with_a_remedy(adjoint):
    for field in (autonomous(nn.Dropout(0.5)), late_dropout):
        with pytest.raises(IncompatibleError, match=r"random.*SolveDropout.*direct"):
            solve(field, Y0, TS, adjoint=adjoint)
    for field in (autonomous(nn.BatchNorm1d(2, dtype=DTYPE)), Counting()):
        with pytest.raises(IncompatibleError, match=r"buffer.*direct"):
            solve(field, Y0.expand(3, 2), TS, adjoint=adjoint)
    solve(autonomous(nn.Dropout(0.5).eval()), Y0, TS, adjoint=adjoint)
    solve(autonomous(nn.BatchNorm1d(2, dtype=DTYPE).eval()), Y0.expand(3, 2), TS, adjoint=adjoint)


def test_random_fields_go_with_direct_and_fixed_steps_alone():
    field = autonomous(nn.Dropout(0.5))
    solve(field, Y0, TS, adjoint="direct", solver="euler", controller=Fixed(steps=4))
    with pytest.raises(IncompatibleError, match="random"):
        solve(field, Y0, TS, adjoint="direct")


def test_solve_dropout_draws_one_mask_a_solve():
    torch.manual_seed(0)
    drop = SolveDropout(0.4)
    field = autonomous(nn.Sequential(nn.Linear(2, 64, dtype=DTYPE), drop, nn.Linear(64, 2, dtype=DTYPE)))
    y0 = Y0.clone().requires_grad_()
    torch.manual_seed(1)
    first = solve(field, y0, TS)
    torch.manual_seed(1)
    direct = solve(field, y0, TS, adjoint="direct")
    other = solve(field, y0, TS)
    assert torch.equal(first.ys, direct.ys)
    assert not torch.equal(first.ys, other.ys)
    assert drop.seed is None
    for a, b in zip(
        *(torch.autograd.grad(s.ys.sum(), [y0, *field.parameters()]) for s in (first, direct)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    layer = drop.begin_layer()
    x = torch.ones(100_000)
    assert abs((layer(x) == 0).float().mean().item() - 0.4) < 0.01
    assert torch.equal(layer(x), layer(x))
    assert torch.equal(layer.eval()(x), x)
