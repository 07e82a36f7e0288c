"""What happens between a forward and a backward pass, and around them: hooks, changes to the field, hidden leaves."""

import random

import pytest
import torch
from torch import nn

from torchdyn_core import (
    PID,
    Backsolve,
    Checkpointed,
    Direct,
    Euler,
    Fixed,
    GradientError,
    IncompatibleError,
    ShapeError,
    SolveDropout,
    Solver,
    State,
    Step,
    VectorField,
    autonomous,
    solve,
)

DTYPE = torch.float64
TS = torch.tensor([0.0, 1.0], dtype=DTYPE)
Y0 = torch.tensor([1.0, 0.5], dtype=DTYPE)
REPLAYING = [Checkpointed(), Checkpointed(memory=4), Backsolve()]


@pytest.mark.parametrize("adjoint", [Direct(), *REPLAYING], ids=repr)
def test_hooks_on_parameters_see_the_whole_gradient_once(adjoint):
    weight, seen = nn.Parameter(torch.tensor(0.5, dtype=DTYPE)), []

    def hook(grad):
        seen.append(grad)
        return 2 * grad

    weight.register_hook(hook)
    solve(lambda t, y: weight * y, Y0, TS, adjoint=adjoint, controller=PID(rtol=1e-9, atol=1e-9)).ys[
        -1
    ].sum().backward()
    assert len(seen) == 1
    assert weight.grad.item() == pytest.approx(2 * 1.5 * torch.tensor(0.5).exp().item(), rel=1e-6)
    weight.grad = None
    weight.square().backward()  # the hook is still there
    assert weight.grad.item() == 2.0


class Scaled(VectorField):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0, dtype=DTYPE))
        self.register_buffer("bystander", torch.tensor(0.0))
        self.weight = nn.Parameter(torch.tensor(1.0, dtype=DTYPE))
        self.drop = nn.Dropout(0.5)

    def forward(self, t, y):
        return -self.weight * y * self.scale


@pytest.mark.parametrize("adjoint", REPLAYING, ids=repr)
def test_a_field_that_changed_between_the_passes_is_found_out(adjoint):
    field = Scaled()
    solution = solve(field, Y0, TS, adjoint=adjoint)
    field.scale.mul_(3)
    with pytest.raises(GradientError, match="changed since it was solved"):
        solution.ys[-1].sum().backward()


@pytest.mark.parametrize("adjoint", REPLAYING, ids=repr)
def test_changes_that_do_not_concern_the_field_are_none_of_its_business(adjoint):
    field = Scaled()
    want = torch.autograd.grad(solve(field, Y0, TS, adjoint=adjoint).ys[-1].sum(), field.weight)[0]
    solution = solve(field, Y0, TS, adjoint=adjoint)
    field.bystander.add_(1)
    field.drop.eval()
    assert torch.equal(torch.autograd.grad(solution.ys[-1].sum(), field.weight)[0], want)


@pytest.mark.parametrize("adjoint", REPLAYING, ids=repr)
def test_a_parameter_changed_between_the_passes_raises(adjoint):
    field = Scaled()
    solution = solve(field, Y0, TS, adjoint=adjoint)
    with torch.no_grad():
        field.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        solution.ys[-1].sum().backward()


class Reassigning(Scaled):
    def forward(self, t, y):
        self.scale = self.scale + 1
        return -self.weight * y * self.scale


@pytest.mark.parametrize("adjoint", REPLAYING, ids=repr)
def test_a_buffer_that_is_replaced_while_the_field_runs_is_refused(adjoint):
    with pytest.raises(IncompatibleError, match=r"buffer Reassigning\.scale"):
        solve(Reassigning(), Y0, TS, adjoint=adjoint)


@pytest.mark.parametrize("adjoint", REPLAYING, ids=repr)
def test_a_generator_of_the_fields_own_is_watched(adjoint):
    generator = torch.Generator()
    with pytest.raises(IncompatibleError, match="random numbers"):
        solve(lambda t, y: -y * torch.rand(2, generator=generator, dtype=DTYPE), Y0, TS, adjoint=adjoint)
    random.random()  # somebody else's draws are no concern of the field
    torch.rand(1, generator=generator)
    solve(lambda t, y: -y, Y0, TS, adjoint=adjoint)


class Hidden:
    """Uses a leaf that no walk finds, late."""

    weight = torch.tensor(2.0, dtype=DTYPE, requires_grad=True)

    def __call__(self, t, y):
        return -y if t < 0.9 else -y * type(self).weight


class HiddenDerived(Hidden):
    root = torch.tensor(2.0, dtype=DTYPE, requires_grad=True)
    weight = root * 1.0


@pytest.mark.parametrize("field", [Hidden(), HiddenDerived()], ids=["leaf", "derived"])
@pytest.mark.parametrize("twice", [False, True], ids=["backward", "create_graph"])
@pytest.mark.parametrize("adjoint", REPLAYING, ids=repr)
def test_a_hidden_leaf_is_refused_in_every_backward_pass(adjoint, twice, field):
    y0 = Y0.clone().requires_grad_()
    solution = solve(field, y0, TS, adjoint=adjoint, solver="rk4", controller=Fixed(dt=0.05))
    with pytest.raises(GradientError, match="could not be found"):
        torch.autograd.grad(solution.ys[-1].sum(), y0, create_graph=twice)


class BaseWithSlots:
    __slots__ = ("weight",)


class Slotted(BaseWithSlots):
    __slots__ = ()

    def __call__(self, t, y):
        return -self.weight * y


def test_slots_of_a_base_class_are_walked():
    field = Slotted()
    field.weight = torch.tensor(0.7, dtype=DTYPE, requires_grad=True)
    solve(field, Y0, TS).ys[-1].sum().backward()
    assert field.weight.grad is not None


def test_solve_dropout_that_no_solve_has_begun_is_refused():
    net = nn.Sequential(nn.Linear(2, 2, dtype=DTYPE), SolveDropout(0.5))
    for field in (lambda t, y: net(y), autonomous(lambda y: net(y))):
        with pytest.raises(IncompatibleError, match=r"no mask.*autonomous\(net\)"):
            solve(field, Y0, TS)
    net.eval()
    solve(lambda t, y: net(y), Y0, TS)


@pytest.mark.filterwarnings("ignore::torchdyn_core.FallbackWarning")
def test_vmap_over_what_a_field_closes_over_is_refused_with_the_reason():
    def run(rate):
        return solve(lambda t, y: -rate * y, Y0, TS).ys[-1]

    with pytest.raises(IncompatibleError, match=r"vmap.*per_sample"):
        torch.func.vmap(run)(torch.tensor([0.5, 1.0], dtype=DTYPE))


class Learned(Euler, nn.Module):
    """Euler's method with a learned factor on its slope."""

    def __init__(self):
        nn.Module.__init__(self)
        self.factor = nn.Parameter(torch.tensor(1.1, dtype=DTYPE))

    __hash__ = nn.Module.__hash__

    def step(self, field, t0, t1, y, state):
        return Step(y + (t1 - t0) * self.factor * field(t0, y), None, State(), (field(t0, y) * (t1 - t0),))


def test_backsolve_refuses_a_solver_with_parameters():
    solver = Learned()
    assert isinstance(solver, Solver)
    solve(Scaled(), Y0, TS, solver=solver, controller=Fixed(steps=4)).ys[-1].sum().backward()
    assert solver.factor.grad is not None
    with pytest.raises(IncompatibleError, match=r"parameters of Learned.*checkpointed"):
        solve(Scaled(), Y0, TS, solver=solver, controller=Fixed(steps=4), adjoint=Backsolve(solver=Euler()))


@pytest.mark.parametrize("adjoint", [Direct(), *REPLAYING], ids=repr)
def test_parameters_that_are_not_used_have_no_gradient(adjoint):
    """None, not zero: weight decay would act on zero."""
    field = Scaled()
    field.spare = nn.Parameter(torch.ones(3))
    solve(field, Y0, TS, adjoint=adjoint).ys[-1].sum().backward()
    assert field.spare.grad is None and field.weight.grad is not None


def test_a_solve_in_inference_mode_leaves_nothing_behind():
    from torchdyn_core.tableau import nodes

    nodes.cache_clear()
    with torch.inference_mode():
        solve(lambda t, y: -y * t, Y0, TS)
    ts = TS.clone().requires_grad_()
    solve(lambda t, y: -y * t, Y0, ts).ys[-1].sum().backward()
    assert bool(ts.grad.isfinite().all())


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("adjoint", [Direct(), *REPLAYING], ids=repr)
def test_a_field_may_not_write_to_its_inputs(adjoint, per_sample):
    def shifts_time(t, y):
        t += 1.0
        return -y * t

    def scales_args(t, y, rate):
        return -rate.mul_(1.1) * y

    options = {"adjoint": adjoint, "per_sample": per_sample}
    # times of samples are views of one another, which torch itself refuses to write to
    refusal = (RuntimeError, "more than one element") if per_sample else (IncompatibleError, "time t or the state y")
    with pytest.raises(refusal[0], match=refusal[1]):
        solve(shifts_time, Y0, TS, **options)
    with pytest.raises(IncompatibleError, match="args in place"):
        solve(scales_args, Y0, TS, args=torch.ones((), dtype=DTYPE), **options)


@pytest.mark.parametrize("adjoint", [Direct(), *REPLAYING], ids=repr)
def test_a_field_may_differentiate_by_time(adjoint):
    def field(t, y):
        with torch.enable_grad():
            t.requires_grad_(True)
            (slope,) = torch.autograd.grad((t**3).sum(), t)
        return -y * slope

    y0 = Y0.clone().requires_grad_()
    solution = solve(field, y0, TS, adjoint=adjoint, controller=PID(rtol=1e-8, atol=1e-8))
    grad = torch.autograd.grad(solution.ys[-1].sum(), y0)[0]
    assert torch.allclose(grad, torch.full_like(grad, -1.0).exp(), rtol=1e-6)


def test_dense_output_of_a_solve_without_steps_is_known_at_its_start_alone():
    solution = solve(lambda t, y: -y, Y0, [1.0, 1.0], dense=True)
    assert torch.equal(solution.evaluate(1.0), Y0) and solution.evaluate([1.0, 1.0]).shape == (2, 2)
    for t in (99.0, torch.ones(2, 3)):
        with pytest.raises(ShapeError):
            solution.evaluate(t)
