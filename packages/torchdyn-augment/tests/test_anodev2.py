"""Weights that solve an equation of their own, beside the state or before it."""

import copy

import pytest
import torch
from torch import nn

from torchdyn_augment import ANODEv2, LearnedDynamics, ReactionDiffusionAdvection, WeightDynamics, WrappedField
from torchdyn_core import (
    PID,
    Backsolve,
    Fixed,
    IncompatibleError,
    NeuralODE,
    OptionError,
    ShapeError,
    SolveDropout,
    solve,
)
from torchdyn_core.testing import FieldSuite
from torchdyn_core.tree import leaves

DTYPE = torch.float64
TIGHT = PID(rtol=1e-9, atol=1e-9)


class Decay(WeightDynamics):
    """dw/dt = -w."""

    def forward(self, t, weights):
        return [-weight for weight in weights]


def scalar():
    """dy/dt = w y."""
    net = nn.Linear(1, 1, bias=False).double()
    nn.init.constant_(net.weight, 0.8)
    return net


def layer(kind, grid=None, net=None, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)).double() if net is None else net
    dynamics = kind(net).double()
    if kind is LearnedDynamics:
        nn.init.normal_(dynamics.wide.weight, std=0.5)
    field = ANODEv2(net, dynamics, grid=grid)
    return NeuralODE(field, augmentation=field.augmentation, **options)


class TestOwnGrid(FieldSuite):
    def make(self):
        torch.manual_seed(0)
        net = nn.Linear(2, 2)
        return ANODEv2(net, ReactionDiffusionAdvection(net), grid=3)

    expected_failures = {  # noqa: RUF012 - a suite's own way
        "test_a_solve_runs_shared_and_per_sample": "weights have no batch axis",
        "test_the_slope_is_like_the_state": "weights have no batch axis",
    }


class TestTogether(FieldSuite):
    def make(self):
        torch.manual_seed(0)
        net = nn.Linear(2, 2)
        return ANODEv2(net, ReactionDiffusionAdvection(net))

    def state(self):
        net = self.make().net
        return torch.randn(4, 2, generator=torch.Generator().manual_seed(0)), [p.detach() for p in net.parameters()]

    expected_failures = {  # noqa: RUF012 - a suite's own way
        "test_a_solve_runs_shared_and_per_sample": "weights have no batch axis",
        "test_rows_do_not_know_each_other": "weights have no batch axis",
    }


class Swing(WeightDynamics):
    """dw/dt = cos 3 t: w = w0 + (sin 3 t - sin 3 t0) / 3."""

    def forward(self, t, weights):
        return [torch.cos(3 * t).expand_as(weight) for weight in weights]


def swung(t0, t1):
    """ln y(t1) / y(t0), for dy/dt = w y with weights that swing, from 0.8."""
    t0, t1 = (torch.as_tensor(t, dtype=DTYPE) for t in (t0, t1))
    return (0.8 - (3 * t0).sin() / 3) * (t1 - t0) + ((3 * t0).cos() - (3 * t1).cos()) / 9


@pytest.mark.parametrize("grid", [None, 60])
def test_dynamics_are_told_the_time_and_times_have_their_gradient(grid):
    ts = torch.tensor([0.4, 1.5], dtype=DTYPE, requires_grad=True)
    field, y0 = ANODEv2(scalar(), Swing(), grid=grid), torch.ones(1, 1, dtype=DTYPE)
    y0 = y0 if grid else field.augmentation.lift(y0)
    for adjoint in ("direct", "checkpointed"):
        ys = solve(field, y0, ts, controller=TIGHT, adjoint=adjoint).ys
        end = (ys if grid else ys[0])[-1].sum()
        torch.testing.assert_close(end, swung(*ts).exp(), rtol=1e-7, atol=1e-7)
        got, want = torch.autograd.grad(end, ts)[0], torch.autograd.grad(swung(*ts).exp(), ts)[0]
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


def test_learned_dynamics_are_told_the_time():
    net = nn.Linear(2, 2)
    dynamics = LearnedDynamics(net)
    nn.init.normal_(dynamics.wide.weight)
    early, late = (dynamics(torch.tensor(t), list(net.parameters())) for t in (0.0, 1.0))
    assert not any(torch.equal(a, b) for a, b in zip(early, late, strict=True))


def test_a_solve_on_a_grid_is_resumed_within_it_alone():
    y0 = torch.ones(1, 1, dtype=DTYPE)
    field = ANODEv2(scalar(), Swing(), grid=60)
    half = solve(field, y0, [0.0, 1.0], controller=TIGHT)
    with pytest.raises(IncompatibleError, match=r"60 steps from t = 0 to 1, and the solve goes on to 4; wanted one"):
        solve(field, half.final, [1.0, 4.0], controller=TIGHT)
    stopped = solve(field, half.final, [1.0, 1.0], controller=TIGHT)
    assert torch.equal(stopped.ys[-1], half.ys[-1])
    field = ANODEv2(scalar(), Swing())
    half = solve(field, field.augmentation.lift(y0), [0.0, 1.0], controller=TIGHT)
    end = solve(field, half.final, [1.0, 4.0], controller=TIGHT).ys[0][-1]
    torch.testing.assert_close(end.log().squeeze(), swung(0.0, 4.0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("grid", [None, 4])
def test_an_empty_span_leaves_the_state(grid):
    net, y0 = scalar(), torch.ones(1, 1, dtype=DTYPE)
    field = ANODEv2(net, Decay(), grid=grid)
    ys = solve(field, y0 if grid else field.augmentation.lift(y0), [0.5, 0.5]).ys
    assert torch.equal((ys if grid else ys[0])[-1], y0)


def test_a_layer_is_a_function_of_its_parameters_to_torch_too():
    made = layer(LearnedDynamics, adjoint="direct")
    assert sorted(made.state_dict()) == sorted(f"field.{name}" for name in made.field.state_dict())
    y0 = torch.randn(3, 2, dtype=DTYPE)
    own = {name: parameter.detach().clone() for name, parameter in made.named_parameters()}

    def loss(parameters):
        return torch.func.functional_call(made, parameters, (y0,)).square().sum()

    grads = torch.func.grad(loss)(own)
    want = torch.autograd.grad(made(y0).square().sum(), list(made.parameters()))
    for name, grad in zip(own, want, strict=True):
        torch.testing.assert_close(grads[name], grad)
    assert all(isinstance(parameter, nn.Parameter) for parameter in made.field.net.parameters())


@pytest.mark.parametrize("grid", [None, 3])
def test_dropout_in_the_dynamics_has_one_mask_a_solve(grid):
    class Dropped(LearnedDynamics):
        def __init__(self, net):
            super().__init__(net)
            self.dropout = SolveDropout(0.5)
            nn.init.normal_(self.wide.weight)

        def forward(self, t, weights):
            return [self.dropout(slope) for slope in super().forward(t, weights)]

    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    field = ANODEv2(net, Dropped(net), grid=grid)
    made, y0 = NeuralODE(field, augmentation=field.augmentation), torch.randn(3, 2)
    torch.manual_seed(0)
    first, second = made(y0), made(y0)
    torch.manual_seed(0)
    assert torch.equal(made(y0), first) and not torch.equal(first, second)


@pytest.mark.parametrize("grid", [None, 3])
def test_args_reach_the_network(grid):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = scalar()

        def forward(self, y, k):
            return k * self.inner(y)

    field, y0 = ANODEv2(Scaled(), Decay(), grid=grid), torch.ones(1, 1, dtype=DTYPE)
    k = torch.tensor(2.0, dtype=DTYPE)
    ys = solve(field, y0 if grid else field.augmentation.lift(y0), [0.0, 1.0], args=k, controller=TIGHT).ys
    exact = torch.exp(1.6 * (1 - torch.exp(torch.tensor(-1.0, dtype=DTYPE))))
    torch.testing.assert_close((ys if grid else ys[0])[-1], exact.reshape(1, 1), rtol=1e-4, atol=1e-4)


def test_weights_that_decay_have_the_closed_solution():
    """w = w0 exp(-t), so y = y0 exp(w0 (1 - exp(-t)))."""
    y0 = torch.tensor([[1.0], [-2.0]], dtype=DTYPE)
    want = y0 * torch.exp(0.8 * (1 - torch.exp(torch.tensor(-1.0, dtype=DTYPE))))
    net = scalar()
    field = ANODEv2(net, Decay())
    y, weights = solve(field, field.augmentation.lift(y0), [0.0, 1.0], controller=TIGHT).ys
    torch.testing.assert_close(y[-1], want)
    torch.testing.assert_close(weights[0][-1], net.weight * torch.exp(torch.tensor(-1.0, dtype=DTYPE)))
    own = solve(ANODEv2(net, Decay(), grid=40), y0, [0.0, 1.0], controller=TIGHT).ys[-1]
    torch.testing.assert_close(own, want, rtol=1e-7, atol=1e-7)


def test_an_own_grid_converges_with_the_fourth_order():
    y0, net = torch.ones(1, 1, dtype=DTYPE), scalar()
    exact = torch.exp(0.8 * (1 - torch.exp(torch.tensor(-1.0, dtype=DTYPE))))
    errors = [
        float(
            (solve(ANODEv2(net, Decay(), grid=n), y0, [0.0, 1.0], controller=TIGHT).ys[-1] - exact).detach().abs().max()
        )
        for n in (4, 8, 16)
    ]
    assert 12 < errors[0] / errors[1] < 20 and 12 < errors[1] / errors[2] < 20


def test_weights_move_backwards_too():
    net, y0 = scalar(), torch.ones(1, 1, dtype=DTYPE)
    forth = solve(ANODEv2(net, Decay(), grid=20), y0, [1.0, 0.0], controller=TIGHT).ys[-1]
    exact = torch.exp(0.8 * (1 - torch.exp(torch.tensor(1.0, dtype=DTYPE))))
    torch.testing.assert_close(forth, exact.reshape(1, 1), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("grid", [None, 3])
@pytest.mark.parametrize("kind", [LearnedDynamics, ReactionDiffusionAdvection])
def test_gradients_are_those_of_finite_differences(kind, grid):
    made = layer(kind, grid, solver="rk4", controller=Fixed(steps=2))
    y0 = torch.randn(2, 2, dtype=DTYPE, requires_grad=True)
    leaves = [y0, *made.parameters()]
    grads = torch.autograd.grad(made(y0).square().sum(), leaves)
    assert all(bool(grad.any()) for grad in grads)
    for leaf, grad in zip(leaves, grads, strict=True):
        for place in range(0, leaf.numel(), 1 + leaf.numel() // 7):
            ends = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    entry = leaf.view(-1)[place].clone()
                    leaf.view(-1)[place] += step
                    ends.append(float(made(y0).square().sum()))
                    leaf.view(-1)[place] = entry
            assert float(grad.view(-1)[place]) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("grid", [None, 3])
@pytest.mark.parametrize("kind", [LearnedDynamics, ReactionDiffusionAdvection])
def test_adjoints_agree(kind, grid):
    def gradients(adjoint, solver="tsit5"):
        made = layer(kind, grid, controller=TIGHT, adjoint=adjoint, solver=solver)
        y0 = torch.linspace(-1.0, 1.0, 6, dtype=DTYPE).reshape(3, 2).requires_grad_()
        return torch.autograd.grad(made(y0).square().sum(), [y0, *made.parameters()])

    direct = gradients("direct")
    for a, b in zip(gradients("checkpointed"), direct, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for a, b in zip(gradients(Backsolve(controller=TIGHT)), direct, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("grid", [None, 3])
def test_copies_and_state_dicts_are_the_layer(grid):
    made, other = layer(LearnedDynamics, grid), layer(LearnedDynamics, grid)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    y0 = torch.randn(3, 2, dtype=DTYPE)
    other.load_state_dict(made.state_dict())
    for twin in (other, copy.deepcopy(made)):
        assert torch.equal(twin(y0), made(y0))
        assert {id(p) for p in twin.parameters()}.isdisjoint({id(p) for p in made.parameters()})


def test_learned_weights_rest_at_first():
    net = nn.Linear(2, 2)
    field = ANODEv2(net, LearnedDynamics(net))
    y0 = torch.randn(3, 2)
    torch.testing.assert_close(
        NeuralODE(field, augmentation=field.augmentation)(y0), NeuralODE(lambda t, y: net(y))(y0)
    )


def test_diffusion_smooths_and_advection_moves():
    net = nn.Linear(4, 1, bias=False).double()
    dynamics = ReactionDiffusionAdvection(net).double()
    w = torch.tensor([[0.0, 0.1, 0.0, 0.0]], dtype=DTYPE)
    with torch.no_grad():
        dynamics.reaction.zero_()
        dynamics.advection.zero_()
        dynamics.diffusion.fill_(0.0)
        tau = torch.log(torch.tensor(2.0, dtype=DTYPE))
        want = torch.tanh(tau * torch.tensor([[0.1, -0.2, 0.1, 0.0]], dtype=DTYPE))
        torch.testing.assert_close(dynamics(torch.tensor(0.0), [w])[0], want)
        dynamics.diffusion.fill_(-torch.inf)
        dynamics.advection.fill_(1.0)
        want = torch.tanh(torch.tensor([[0.05, 0.0, -0.05, 0.0]], dtype=DTYPE))
        torch.testing.assert_close(dynamics(torch.tensor(0.0), [w])[0], want)
        dynamics.advection.zero_()
        dynamics.reaction.fill_(2.0)
        torch.testing.assert_close(dynamics(torch.tensor(0.0), [w])[0], torch.tanh(2 * w))


def test_kernels_spread_over_their_own_axes():
    net = nn.Conv2d(2, 3, 3)
    slopes = ReactionDiffusionAdvection(net)(torch.tensor(0.0), list(net.parameters()))
    assert [slope.shape for slope in slopes] == [p.shape for p in net.parameters()]
    dynamics = ReactionDiffusionAdvection(net)
    with torch.no_grad():
        dynamics.reaction.zero_()
        dynamics.advection.zero_()
        kernel = torch.zeros(3, 2, 3, 3)
        kernel[0, 0, 1, 1] = 0.1
        slope = dynamics(torch.tensor(0.0), [kernel, torch.zeros(3)])[0]
    assert int(slope.count_nonzero()) == 5 and not slope[1:].any()


def test_steps_of_rows_are_refused_with_the_reason():
    for grid in (None, 3):
        made = layer(LearnedDynamics, grid)
        lifted = torch.ones(3, 2, dtype=DTYPE)
        lifted = lifted if made.augmentation is None else made.augmentation.lift(lifted)
        with pytest.raises(IncompatibleError, match="weights have no batch axis"):
            solve(made.field, lifted, [0.0, 1.0], per_sample=True)
        for field in (made.field, WrappedField(made.field)):  # whatever it is wrapped into
            with pytest.raises(IncompatibleError, match="takes no per_sample: weights have no batch axis"):
                NeuralODE(field, per_sample=True)


def test_what_does_not_fit_is_refused():
    net = nn.Linear(2, 2)
    with pytest.raises(OptionError, match="grid=0"):
        ANODEv2(net, LearnedDynamics(net), grid=0)
    with pytest.raises(OptionError, match="width=0"):
        LearnedDynamics(net, width=0)
    with pytest.raises(ShapeError, match=r"wanted \(y, weights\)"):
        solve(ANODEv2(net, LearnedDynamics(net)), torch.ones(3, 2), [0.0, 1.0])
    with pytest.raises(IncompatibleError, match="Tanh has no parameters"):
        ANODEv2(nn.Tanh(), Decay())
    with pytest.raises(IncompatibleError, match="no solve has begun it"):
        ANODEv2(net, Decay(), grid=2)(torch.tensor(0.0), torch.ones(3, 2))

    class Wrong(WeightDynamics):
        def forward(self, t, weights):
            return [weight.sum() for weight in weights]

    field = ANODEv2(net, Wrong())
    with pytest.raises(ShapeError, match=r"the dynamics gave \[\(\), \(\)\]; wanted"):
        solve(field, field.augmentation.lift(torch.ones(3, 2)), [0.0, 1.0])
    assert len(leaves(field.augmentation.lift(torch.ones(3, 2)))) == 3
    for dynamics, words in ((LearnedDynamics, "dynamics is the class LearnedDynamics: call it"), (None, "is None")):
        with pytest.raises(IncompatibleError, match=words):
            ANODEv2(net, dynamics)
    with pytest.raises(ShapeError, match="grid= got weights beside the state"):
        solve(ANODEv2(net, Decay(), grid=2), field.augmentation.lift(torch.ones(3, 2)), [0.0, 1.0])
    for kind in (LearnedDynamics, ReactionDiffusionAdvection):
        field = ANODEv2(net, kind(nn.Linear(3, 3)))
        with pytest.raises(
            ShapeError, match=r"got weights of shapes \[\(2, 2\), \(2,\)\]; wanted those of the network"
        ):
            solve(field, field.augmentation.lift(torch.ones(3, 2)), [0.0, 1.0])
