"""Gradients as they are defined: of the discrete steps exactly, of the continuous adjoint to its tolerance."""

import itertools

import pytest
import torch
from torch import nn

from torchdyn_core import (
    PID,
    Backsolve,
    Checkpointed,
    Direct,
    Fixed,
    GradientError,
    IncompatibleError,
    IntegrationError,
    VectorField,
    per_row,
    solve,
)

DTYPE = torch.float64
TS = torch.tensor([0.0, 0.4, 0.9, 1.5], dtype=DTYPE)


class Field(nn.Module):
    """Nonlinear and time-dependent, with arguments."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 6, dtype=DTYPE)
        self.outer = nn.Linear(6, 2, dtype=DTYPE)
        self.unused = nn.Parameter(torch.ones(3, dtype=DTYPE))
        self.frozen = nn.Parameter(torch.ones(2, dtype=DTYPE), requires_grad=False)

    def forward(self, t, y, args):
        drive, rate = args["drive"], args["rate"]
        return (
            self.outer(torch.tanh(self.inner(y))) * torch.cos(t)
            + rate * torch.sin(3 * t) * drive
            - 0.1 * self.frozen * y
        )


def setup(seed=0):
    torch.manual_seed(seed)
    field = Field()
    y0 = torch.randn(3, 2, dtype=DTYPE, requires_grad=True)
    args = {
        "drive": torch.randn(2, dtype=DTYPE, requires_grad=True),
        "rate": torch.tensor(0.7, dtype=DTYPE, requires_grad=True),
    }
    return field, y0, args


def loss_of(solution):
    weights = torch.arange(1.0, 1.0 + solution.ys.numel(), dtype=DTYPE).reshape(solution.ys.shape).sin()
    loss = (solution.ys * weights).sum() + solution.final.y.square().sum()
    return loss if solution.integral is None else loss + solution.integral.sum()


def running(t, y):
    return (y.square() * (1 + torch.as_tensor(t))).sum(-1)


def gradients(adjoint, *, per_sample=False, controller=None, ts=TS, integral=running, solver="dopri5", **options):
    field, y0, args = setup()
    ts = ts.clone().requires_grad_()
    solution = solve(
        field, y0, ts, args=args, solver=solver, adjoint=adjoint, per_sample=per_sample,
        controller=controller or PID(rtol=1e-5, atol=1e-5), integral_loss=integral, **options,
    )  # fmt: skip
    inputs = [y0, ts, *args.values(), *field.inner.parameters(), *field.outer.parameters()]
    return torch.autograd.grad(loss_of(solution), inputs), solution


def gap(got, want):
    return max(((a - b).abs().max() / b.abs().max()).item() for a, b in zip(got, want, strict=True))


PER_TS = torch.tensor([[0.0, 1.0, 0.0], [0.4, 0.8, 0.1], [0.9, 0.1, 0.2], [1.5, -0.5, 0.25]], dtype=DTYPE)


@pytest.mark.parametrize("ts", [TS, TS.flip(0)], ids=["forward", "reverse"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
@pytest.mark.parametrize("memory", [None, 4, 5, 9])
@pytest.mark.parametrize("solver", ["euler", "heun", "rk4", "bosh3", "dopri5", "tsit5", "dopri8"])
def test_checkpointed_equals_direct_to_rounding_on_fixed_steps(solver, memory, per_sample, ts):
    kind = {"controller": Fixed(dt=0.13), "per_sample": per_sample, "ts": ts, "solver": solver}
    want, _ = gradients(Direct(), **kind)
    got, _ = gradients(Checkpointed(memory=memory), **kind)
    assert gap(got, want) < 1e-12


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
@pytest.mark.parametrize("memory", [None, 5])
@pytest.mark.parametrize("solver", ["heun", "bosh3", "dopri5", "tsit5", "dopri8"])
def test_checkpointed_equals_direct_on_adaptive_steps(solver, memory, per_sample):
    kind = {"per_sample": per_sample, "solver": solver}
    want, _ = gradients(Direct(), **kind)
    got, solution = gradients(Checkpointed(memory=memory), **kind)
    assert gap(got, want) < 1e-10
    assert solution.stats.replayed >= int(torch.as_tensor(solution.stats.accepted).max())


@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=4)])
def test_spans_of_each_sample_get_the_gradient_of_direct(adjoint):
    want, _ = gradients(Direct(), per_sample=True, ts=PER_TS)
    got, _ = gradients(adjoint, per_sample=True, ts=PER_TS)
    assert gap(got, want) < 1e-10


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
@pytest.mark.parametrize("ts", [TS, TS.flip(0)], ids=["forward", "reverse"])
@pytest.mark.parametrize("tolerance", [1e-6, 1e-9])
def test_backsolve_is_within_a_hundred_tolerances(tolerance, ts, per_sample):
    controller = PID(rtol=tolerance, atol=tolerance)
    want, _ = gradients(Direct(), controller=PID(rtol=1e-12, atol=1e-12), ts=ts, per_sample=per_sample)
    got, _ = gradients(Backsolve(), controller=controller, ts=ts, per_sample=per_sample)
    assert gap(got, want) < 100 * tolerance


def test_backsolve_takes_spans_of_each_sample():
    want, _ = gradients(Direct(), controller=PID(rtol=1e-12, atol=1e-12), per_sample=True, ts=PER_TS)
    got, _ = gradients(Backsolve(), controller=PID(rtol=1e-8, atol=1e-8), per_sample=True, ts=PER_TS)
    assert gap(got, want) < 1e-6


@pytest.mark.parametrize("ts", [TS, PER_TS], ids=["one span", "spans of each sample"])
@pytest.mark.parametrize("controller", [Fixed(steps=60), Fixed(dt=0.02)], ids=["steps", "dt"])
def test_backsolve_on_fixed_steps_of_each_sample(controller, ts):
    want, _ = gradients(Direct(), controller=PID(rtol=1e-12, atol=1e-12), per_sample=True, ts=ts)
    got, _ = gradients(Backsolve(), controller=controller, per_sample=True, ts=ts)
    assert gap(got, want) < 1e-6


def finite_differences(run, tensor, step=1e-6):
    grad = torch.zeros_like(tensor)
    flat, out = tensor.detach().view(-1), grad.view(-1)
    for i in range(flat.numel()):
        keep = flat[i].item()
        values = []
        for sign in (1, -1):
            flat[i] = keep + sign * step
            values.append(run())
        flat[i] = keep
        out[i] = (values[0] - values[1]) / (2 * step)
    return grad


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_fixed_steps_match_finite_differences(adjoint, per_sample):
    field, y0, args = setup()
    ts = TS.clone().requires_grad_()

    # steps=: the grid moves with ts[0] while its step size is a constant, which dt= expresses
    def run():
        with torch.no_grad():
            return loss_of(
                solve(
                    field,
                    y0,
                    ts,
                    args=args,
                    solver="rk4",
                    controller=Fixed(dt=0.17),
                    per_sample=per_sample,
                    integral_loss=running,
                )
            ).item()

    solution = solve(
        field, y0, ts, args=args, solver="rk4", controller=Fixed(dt=0.17), per_sample=per_sample, adjoint=adjoint,
        integral_loss=running,
    )  # fmt: skip
    inputs = [y0, ts, *args.values(), field.inner.weight]
    got = torch.autograd.grad(loss_of(solution), inputs)
    want = [finite_differences(run, x) for x in inputs]
    assert gap(got, want) < 1e-7


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed"])
def test_adaptive_steps_match_finite_differences_over_the_recorded_grid(adjoint):
    field, y0, args = setup()
    ts = TS.clone().requires_grad_()
    solution = solve(
        field, y0, ts, args=args, solver="tsit5", controller=PID(rtol=1e-4, atol=1e-4), adjoint=adjoint,
        record_steps=True, integral_loss=running,
    )  # fmt: skip
    inputs = [y0, ts, *args.values(), field.outer.weight]
    got = torch.autograd.grad(loss_of(solution), inputs)
    sizes = solution.steps[0].detach().diff()

    def run():
        with torch.no_grad():
            start, end = ts[0].item(), ts[-1].item()
            grid = [start, *(start + sizes[:-1].cumsum(0)).tolist(), end]
            return loss_of(
                solve(field, y0, ts, args=args, solver="tsit5", controller=Fixed(grid=grid), integral_loss=running)
            ).item()

    assert len(sizes) > 3
    want = [finite_differences(run, x) for x in inputs]
    assert gap(got, want) < 1e-7


def test_a_running_loss_has_one_gradient_under_every_adjoint():
    tight = PID(rtol=1e-10, atol=1e-10)
    results = [gradients(adjoint, controller=tight)[0] for adjoint in (Direct(), Checkpointed(), Backsolve())]
    for got in results[1:]:
        assert gap(got, results[0]) < 1e-7
    without, _ = gradients(Direct(), controller=tight, integral=None)
    assert gap(without, results[0]) > 1e-2, "the running loss should matter"


def test_dense_output_and_recorded_steps_carry_gradients():
    def run(adjoint, per_sample):
        field, y0, args = setup()
        t = torch.tensor([0.2, 0.77, 1.4], dtype=DTYPE, requires_grad=True)
        solution = solve(
            field, y0, TS, args=args, adjoint=adjoint, dense=True, record_steps=True, per_sample=per_sample,
            controller=PID(rtol=1e-5, atol=1e-5),
        )  # fmt: skip
        loss = solution.evaluate(t).square().sum() + solution.steps[1].sin().sum()
        inputs = [y0, args["drive"], field.inner.weight, t]
        return torch.autograd.grad(loss, inputs)

    for per_sample in (False, True):
        want = run(Direct(), per_sample)
        for adjoint in (Checkpointed(), Checkpointed(memory=4)):
            assert gap(run(adjoint, per_sample), want) < 1e-10


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed", "backsolve"])
@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_save_reports_a_function_with_its_own_gradient(adjoint, per_sample):
    field, y0, args = setup()
    gain = torch.tensor(2.0, dtype=DTYPE, requires_grad=True)
    options = {"args": args, "controller": PID(rtol=1e-9, atol=1e-9), "per_sample": per_sample, "adjoint": adjoint}
    saved = solve(field, y0, TS, save=lambda t, y: gain * y[..., 0] * (1 + t.reshape(-1)[0]), **options)
    plain = solve(field, y0, TS, **options)
    want = gain * plain.ys[..., 0] * (1 + TS[:, None])
    assert saved.ys.shape == (4, 3)
    torch.testing.assert_close(saved.ys, want, rtol=1e-12, atol=1e-12)
    inputs = [y0, gain, field.inner.weight]
    got = torch.autograd.grad(saved.ys.square().sum(), inputs)
    assert gap(got, torch.autograd.grad(want.square().sum(), inputs)) < 1e-9


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
def test_double_backward_through_checkpoints_equals_direct(per_sample):
    def second(adjoint):
        field, y0, args = setup()
        ts = TS.clone().requires_grad_()
        solution = solve(
            field, y0, ts, args=args, adjoint=adjoint, controller=Fixed(dt=0.25), solver="rk4", per_sample=per_sample,
            integral_loss=running,
        )  # fmt: skip
        first = torch.autograd.grad(loss_of(solution), [y0, args["drive"], field.inner.weight], create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), [y0, ts, args["rate"], field.outer.weight])

    want = second(Direct())
    assert gap(second(Checkpointed()), want) < 1e-11
    assert gap(second(Checkpointed(memory=4)), want) < 1e-11


def test_double_backward_through_backsolve_raises():
    y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
    solution = solve(lambda t, y: -y * y, y0, TS, adjoint="backsolve")
    (first,) = torch.autograd.grad(solution.ys.sum(), y0, create_graph=True)
    with pytest.raises(GradientError, match="no second derivative"):
        (first.sum() + y0.sum()).backward()


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, in make_dual
def test_forward_mode_works_directly_and_raises_through_checkpoints():
    y0, tangent = torch.ones(2, dtype=DTYPE), torch.tensor([1.0, -2.0], dtype=DTYPE)
    for per_sample in (False, True):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(y0, tangent)
            out = solve(
                lambda t, y: -y, dual, TS, adjoint="direct", controller=PID(rtol=1e-9, atol=1e-9), per_sample=per_sample
            )
            moved = torch.autograd.forward_ad.unpack_dual(out.ys).tangent
        torch.testing.assert_close(moved, torch.exp(-TS)[:, None] * tangent, rtol=1e-7, atol=1e-8)
    for adjoint in ("checkpointed", "backsolve"):
        with (
            torch.autograd.forward_ad.dual_level(),
            pytest.raises((IncompatibleError, GradientError), match="forward mode"),
        ):
            solve(lambda t, y: -y, torch.autograd.forward_ad.make_dual(y0, tangent), TS, adjoint=adjoint)


def test_complex_states_have_the_gradient_of_direct():
    def run(adjoint):
        torch.manual_seed(1)
        y0 = torch.randn(3, dtype=torch.complex128, requires_grad=True)
        rate = torch.tensor(-0.3 + 2j, dtype=torch.complex128, requires_grad=True)
        options = {"controller": PID(rtol=1e-10, atol=1e-10), "args": rate, "adjoint": adjoint}
        solution = solve(lambda t, y, a: a * y + 0.1 * y * y.conj(), y0, TS, **options)
        return torch.autograd.grad(solution.ys.abs().square().sum(), [y0, rate])

    want = run(Direct())
    assert gap(run(Checkpointed()), want) < 1e-10
    assert gap(run(Backsolve()), want) < 1e-7


def test_pytree_states_have_the_gradient_of_direct():
    def run(adjoint, per_sample):
        torch.manual_seed(1)
        y0 = {
            "a": torch.randn(3, 2, dtype=DTYPE, requires_grad=True),
            "b": (torch.randn(3, dtype=DTYPE, requires_grad=True),),
        }

        def field(t, y):
            return {"a": torch.sin(y["a"]) * y["b"][0][:, None], "b": (-y["b"][0] + y["a"].sum(-1),)}

        solution = solve(field, y0, TS, adjoint=adjoint, per_sample=per_sample, controller=PID(rtol=1e-9, atol=1e-9))
        loss = solution.ys["a"].square().sum() + solution.ys["b"][0].sin().sum()
        return torch.autograd.grad(loss, [y0["a"], y0["b"][0]])

    for per_sample in (False, True):
        want = run(Direct(), per_sample)
        assert gap(run(Checkpointed(), per_sample), want) < 1e-10
        assert gap(run(Backsolve(), per_sample), want) < 1e-6


def test_segments_have_the_gradient_of_direct():
    ids = torch.tensor([1, 0, 1, 0, 2])

    def run(adjoint):
        torch.manual_seed(1)
        y0 = torch.randn(5, 2, dtype=DTYPE, requires_grad=True)
        rate = torch.tensor(1.3, dtype=DTYPE, requires_grad=True)

        def field(t, y, rate):
            total = torch.zeros(3, 2, dtype=DTYPE).index_add(0, ids, y)
            return torch.tanh(total)[ids] * torch.cos(t) - rate * y

        solution = solve(
            field, y0, TS, args=rate, per_sample=ids, adjoint=adjoint, controller=PID(rtol=1e-9, atol=1e-9)
        )
        return torch.autograd.grad(solution.ys.square().sum(), [y0, rate])

    want = run(Direct())
    assert gap(run(Checkpointed()), want) < 1e-10
    assert gap(run(Backsolve()), want) < 1e-6


def test_fields_that_differentiate_inside_work_everywhere():
    torch.manual_seed(0)
    energy = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)).double()

    def by_func(t, y):
        slope = torch.func.grad(lambda z: energy(z).sum())(y)
        return torch.cat([slope[..., 1:], -slope[..., :1]], -1)

    def by_autograd(t, y):  # relies on the solver for grad mode and a state that requires grad
        (slope,) = torch.autograd.grad(energy(y).sum(), y, create_graph=True)
        return torch.cat([slope[..., 1:], -slope[..., :1]], -1)

    def by_enabled(t, y):
        with torch.enable_grad():
            z = y if y.requires_grad else y.detach().requires_grad_()
            (slope,) = torch.autograd.grad(energy(z).sum(), z, create_graph=True)
        return torch.cat([slope[..., 1:], -slope[..., :1]], -1)

    weights = [energy[0].weight, energy[0].bias, energy[2].weight]
    options = {"controller": PID(rtol=1e-8, atol=1e-8)}
    y0 = torch.randn(4, 2, dtype=DTYPE)
    want = None
    for field, adjoint in itertools.product(
        (by_func, by_autograd, by_enabled), ("direct", "checkpointed", "backsolve")
    ):
        solution = solve(field, y0, TS, adjoint=adjoint, **options)
        got = torch.autograd.grad(solution.ys.square().sum(), weights)
        want = got if want is None else want
        assert gap(got, want) < (1e-5 if adjoint == "backsolve" else 1e-10), (field.__name__, adjoint)
        with torch.no_grad():
            still = solve(field, y0, TS, adjoint=adjoint, **options).ys
        torch.testing.assert_close(still, solution.ys.detach())
        with torch.inference_mode():
            torch.testing.assert_close(solve(by_func, y0, TS, adjoint=adjoint, **options).ys.clone(), still)


def test_second_use_of_the_graph_and_frozen_parameters():
    field, y0, args = setup()
    field.outer.requires_grad_(False)
    solution = solve(field, y0, TS, args=args)
    first = torch.autograd.grad(solution.ys.sum(), [y0, field.inner.weight], retain_graph=True)
    again = torch.autograd.grad(solution.ys.sum(), [y0, field.inner.weight])
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    bounded = solve(field, y0, TS, args=args, adjoint=Checkpointed(memory=4))
    for keep in (True, False):
        grads = torch.autograd.grad(bounded.ys.sum(), [y0, field.inner.weight], retain_graph=keep)
        assert gap(grads, first) < 1e-12
    solve(field, y0, TS, args=args).ys.sum().backward()
    assert field.outer.weight.grad is None
    assert field.unused.grad is None or not field.unused.grad.any()


def test_a_weight_changed_in_place_between_forward_and_backward_raises():
    field, y0, args = setup()
    solution = solve(field, y0, TS, args=args)
    with torch.no_grad():
        field.inner.weight.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        solution.ys.sum().backward()


def test_a_state_changed_in_place_after_the_solve_changes_no_gradient():
    y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
    source = y0 * 1.0
    solution = solve(lambda t, y: -y * y, source, TS)
    with torch.no_grad():
        source.mul_(100.0)
    (got,) = torch.autograd.grad(solution.ys[-1].sum(), y0)
    torch.testing.assert_close(got, torch.full((2,), 1 / (1 + 1.5) ** 2, dtype=DTYPE), rtol=1e-2, atol=1e-3)


class Jumping(VectorField):
    def breakpoints(self, t0, t1):
        return torch.tensor([0.3, 1.1], dtype=DTYPE)

    def forward(self, t, y, rate):
        return torch.where(t < 0.3, 1.0, torch.where(t < 1.1, -2.0, 0.5)) * y * rate


@pytest.mark.parametrize("per_sample", [False, True], ids=["shared", "per_sample"])
@pytest.mark.parametrize("adjoint", [Direct(), Checkpointed(), Checkpointed(memory=4), Backsolve()])
def test_jumps_keep_gradients_and_time_gradients_exact(adjoint, per_sample):
    y0 = torch.ones(3, 1, dtype=DTYPE, requires_grad=True)
    rate = torch.tensor(1.0, dtype=DTYPE, requires_grad=True)
    ts = TS.clone().requires_grad_()
    options = {"controller": PID(rtol=1e-10, atol=1e-10), "args": rate, "per_sample": per_sample}
    solution = solve(Jumping(), y0, ts, adjoint=adjoint, **options)
    exponent = 0.3 - 2 * 0.8 + 0.5 * 0.4
    torch.testing.assert_close(
        solution.ys[-1].detach(), torch.full((3, 1), exponent, dtype=DTYPE).exp(), rtol=1e-9, atol=0
    )
    got = torch.autograd.grad(solution.ys[-1].sum(), [y0, rate, ts])
    end = torch.tensor(exponent, dtype=DTYPE).exp()
    want = [end.expand(3, 1), 3 * exponent * end, torch.stack([-3 * end, 0 * end, 0 * end, 0.5 * 3 * end])]
    # what is reported moves with ts[0] only until the first jump, the continuous problem with the field there
    assert gap(got[:2], want[:2]) < 1e-8
    torch.testing.assert_close(got[2][-1], want[2][-1], rtol=1e-8, atol=0)


def test_backsolve_names_those_that_can_where_it_cannot():
    y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
    for option in ({"dense": True}, {"record_steps": True}):
        with pytest.raises(IncompatibleError, match=r"checkpointed.*direct"):
            solve(lambda t, y: -y, y0, TS, adjoint="backsolve", **option)
    with pytest.raises(IncompatibleError, match="error estimate"):
        solve(lambda t, y: -y, y0, TS, adjoint=Backsolve(solver=__import__("torchdyn_core").RK4()))


def test_a_backward_solve_that_fails_says_so():
    y0 = torch.full((1,), 1.0, dtype=DTYPE, requires_grad=True)
    stiff = solve(
        lambda t, y: -1000 * y, y0, torch.tensor([0.0, 1.0], dtype=DTYPE), adjoint=Backsolve(), max_steps=2000
    )
    with pytest.raises(IntegrationError, match="backward solve"):
        stiff.ys[-1].sum().backward()


def test_an_unfinished_solve_has_the_gradient_of_the_steps_it_took():
    def run(adjoint):
        y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
        solution = solve(
            lambda t, y: -y * y, y0, TS, adjoint=adjoint, max_steps=3, throw=False, controller=Fixed(dt=0.2)
        )
        assert not solution.success
        return torch.autograd.grad(solution.ys.square().sum(), [y0])

    assert gap(run("checkpointed"), run("direct")) < 1e-12
    with pytest.raises(GradientError, match="did not reach"):
        run("backsolve")


def test_gradients_of_an_empty_span_are_those_of_the_identity():
    y0 = torch.ones(2, dtype=DTYPE, requires_grad=True)
    for adjoint in ("direct", "checkpointed", "backsolve"):
        (got,) = torch.autograd.grad(
            solve(lambda t, y: -y, y0, torch.zeros(3, dtype=DTYPE), adjoint=adjoint).ys.sum(), y0
        )
        assert torch.equal(got, torch.full_like(y0, 3.0))
    with pytest.raises(GradientError, match="empty"):
        solve(lambda t, y: -y, y0, torch.zeros(2, dtype=DTYPE, requires_grad=True))


@pytest.mark.parametrize("adjoint", [Direct(), Checkpointed()], ids=repr)
@pytest.mark.parametrize("per_sample", [False, True])
def test_a_grid_moves_with_its_start_behind_a_jump_too(adjoint, per_sample):
    """A jump cuts a step of a fixed grid and stands still; the grid goes on moving with `ts[0]`."""

    def run(ts):
        controller = Fixed(dt=0.1, jump_ts=[0.45])
        y0 = torch.ones(1, dtype=DTYPE)
        return solve(
            lambda t, y: torch.cos(3 * t) * y, y0, ts, solver="euler", controller=controller, adjoint=adjoint,
            per_sample=per_sample,
        ).ys[-1].sum()  # fmt: skip

    ts = torch.tensor([0.03, 1.0], dtype=DTYPE, requires_grad=True)
    got = torch.autograd.grad(run(ts), ts)[0]
    with torch.no_grad():
        assert torch.allclose(got, finite_differences(lambda: run(ts).item(), ts), rtol=1e-7)


def test_nan_of_a_step_too_long_does_not_enter_the_gradient_of_others():
    """The logarithm of a negative number rejects a sample's step; those it then takes have their gradient."""

    def field(t, y, rate):
        return -rate * torch.log(y + 1.0) - 0.2 * rate

    def run(adjoint):
        y0 = torch.tensor([0.5, 4.0], dtype=DTYPE, requires_grad=True)
        rate = torch.tensor(1.0, dtype=DTYPE, requires_grad=True)
        solution = solve(
            field, y0, torch.tensor([0.0, 4.0], dtype=DTYPE), args=rate, per_sample=True, adjoint=adjoint,
            solver="bosh3", controller=PID(dt0=4.0, rtol=1e-4, atol=1e-6),
        )  # fmt: skip
        assert int(solution.stats.rejected[0]) > 0
        return torch.stack([*torch.autograd.grad(solution.ys[-1].sum(), (y0, rate))[0], torch.zeros(())])

    want = run(Checkpointed())
    assert bool(want.isfinite().all()) and torch.allclose(run(Direct()), want, rtol=1e-10)


@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=4), Direct()], ids=repr)
def test_a_sample_that_waits_where_its_field_has_no_derivative_adds_nothing(adjoint):
    """sqrt has none at 0: the sample whose span is empty must not put NaN into what all samples share."""
    rate = torch.tensor(0.5, dtype=DTYPE, requires_grad=True)
    ts = torch.tensor([[0.0, 0.0], [0.0, 1.0]], dtype=DTYPE)
    y0 = torch.tensor([0.0, 1.0], dtype=DTYPE)
    solution = solve(lambda t, y, p: -p * y.sqrt(), y0, ts, args=rate, per_sample=True, adjoint=adjoint)
    assert torch.autograd.grad(solution.ys[-1].sum(), rate)[0].item() == pytest.approx(-0.75, rel=1e-3)


@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=4)], ids=repr)
def test_a_sample_that_failed_leaves_the_others_their_gradient(adjoint):
    def run(y0):
        rate = torch.tensor(0.5, dtype=DTYPE, requires_grad=True)
        solution = solve(
            lambda t, y, p: p * y.log() + p, torch.tensor(y0, dtype=DTYPE), TS[[0, -1]], args=rate, per_sample=True,
            throw=False, adjoint=adjoint,
        )  # fmt: skip
        return torch.autograd.grad(solution.ys[-1, 0], rate)[0]

    assert torch.equal(run([1.0, -1.0]), run([1.0]))


@pytest.mark.parametrize("reverse", [False, True])
def test_backsolve_sees_a_jump_at_an_end_from_inside(reverse):
    def run(adjoint):
        ts = torch.tensor([1.0, 0.0] if reverse else [0.0, 1.0], dtype=DTYPE, requires_grad=True)
        solution = solve(
            lambda t, y: torch.where(t >= 1.0, 5.0, 1.0) * y, torch.ones(1, dtype=DTYPE), ts, adjoint=adjoint,
            controller=PID(rtol=1e-9, atol=1e-9, jump_ts=[1.0]),
        )  # fmt: skip
        return torch.autograd.grad(solution.ys[-1].sum(), ts)[0]

    assert torch.allclose(run(Backsolve()), run(Direct()), rtol=1e-6)


def entangled():
    """Solves of which one input depends on another, or stands in two places."""
    ts, one = torch.tensor([0.0, 0.4, 1.0], dtype=DTYPE), torch.ones(1, dtype=DTYPE)
    fixed = {"solver": "rk4", "controller": Fixed(steps=4)}

    def twice(w, adjoint):
        def field(t, y):
            return -w * y

        first = solve(field, one, ts, adjoint=adjoint, **fixed)
        return solve(field, first.final, ts + 1, adjoint=adjoint, **fixed).ys

    def shared(w, adjoint):
        h = w * w
        return solve(lambda t, y, a: -a[0] * a[1] * y, h * one, ts, args=(h, w), adjoint=adjoint, **fixed).ys

    def read(w, adjoint):
        solution = solve(
            lambda t, y: -w * y * y, w * one, ts, adjoint=adjoint, record_steps=True, dense=True,
            integral_loss=lambda t, y: w * t * y.sum(), **fixed,
        )  # fmt: skip
        return solution.steps[1].sum() + solution.evaluate(0.3) + solution.integral

    return {
        "state": lambda w, adjoint: solve(lambda t, y: -w * y, w * one, ts, adjoint=adjoint, **fixed).ys,
        "arguments": lambda w, a: solve(lambda t, y, q: -w * q * y, one, ts, args=2 * w, adjoint=a, **fixed).ys,
        "times": lambda w, adjoint: solve(lambda t, y: -w * y * t, one, ts * w, adjoint=adjoint, **fixed).ys,
        "both of one": shared,
        "one after the other": twice,
        "closure and args": lambda w, a: solve(lambda t, y, q: -w * q * y, one, ts, args=w, adjoint=a, **fixed).ys,
        "args twice": lambda w, a: solve(lambda t, y, q: -q[0] * q[1] * y, one, ts, args=(w, w), adjoint=a, **fixed).ys,
        "everything that is read": read,
    }


@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=4)], ids=repr)
@pytest.mark.parametrize("case", entangled())
def test_derivatives_of_every_order_where_inputs_depend_on_each_other(case, adjoint):
    def derivatives(adjoint):
        w = torch.tensor(0.7, dtype=DTYPE, requires_grad=True)
        value, found = entangled()[case](w, adjoint).sum(), []
        for order in range(3):
            if order == 0:
                found.append(torch.autograd.grad(value, w, retain_graph=True)[0].item())
            (value,) = torch.autograd.grad(value, w, create_graph=True)
            found.append(value.item())
        return found

    assert derivatives(adjoint) == pytest.approx(derivatives(Direct()), rel=1e-11)


class Anchored(VectorField):
    """A field that knows when its solve began: dy/dt = cos(t - t0) y."""

    def begin(self, t0, t1, y0):
        return self.replace(start=t0)

    def forward(self, t, y):
        return torch.cos(t - per_row(self.start, y)) * y


@pytest.mark.parametrize("adjoint", [Direct(), Checkpointed(), Backsolve(controller=PID(rtol=1e-9, atol=1e-9))])
@pytest.mark.parametrize("per_sample", [False, True])
def test_times_have_a_gradient_by_way_of_what_a_field_makes_of_them_as_it_begins(adjoint, per_sample):
    """y(t1) = y0 exp(sin(t1 - t0)), so dy/dt0 = -cos(t1 - t0) y, all of which but -y comes by way of the field."""
    ts = torch.tensor([0.3, 1.5], dtype=DTYPE, requires_grad=True)
    y0 = torch.ones(2, 1, dtype=DTYPE)
    options = {"controller": PID(rtol=1e-10, atol=1e-10), "adjoint": adjoint, "per_sample": per_sample}
    y = solve(Anchored(), y0, ts, **options).ys[-1]
    (grad,) = torch.autograd.grad(y.sum(), ts)
    slope = 2 * torch.cos(ts[1] - ts[0]) * torch.exp(torch.sin(ts[1] - ts[0]))
    torch.testing.assert_close(grad, torch.stack((-slope, slope)).detach(), rtol=1e-7, atol=1e-7)
