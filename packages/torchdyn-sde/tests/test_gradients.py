"""Gradients: the adjoints against closed forms, and against each other."""

import pytest
import torch

from torchdyn_core import (
    PID,
    Backsolve,
    Checkpointed,
    Direct,
    Fixed,
    GradientError,
    IncompatibleError,
    Path,
    Reversible,
    solve,
)
from torchdyn_core.testing.measure import slope
from torchdyn_sde import (
    SRK,
    BrownianPath,
    EulerHeun,
    EulerMaruyama,
    Heun,
    Midpoint,
    Milstein,
    ReversibleHeun,
    SDEField,
    ShARK,
    SlowRK,
    SPaRK,
)
from torchdyn_sde.closed_forms import closed_form
from torchdyn_sde.testing import sde_problem

DTYPE = torch.float64
ONE = torch.tensor(1.0, dtype=DTYPE)


def gradients(field, y0, method, adjoint, steps, ts=(0.0, 1.0), **options):
    """Gradients of a loss of all reports, in one row."""
    y0 = y0.clone().requires_grad_()
    controller = options.pop("controller", None) or Fixed(steps=steps)
    solution = solve(field, y0, list(ts), solver=method, controller=controller, adjoint=adjoint, **options)
    found = torch.autograd.grad(solution.ys[1:].square().sum(), [y0, *field.parameters()])
    return torch.cat([g.flatten() for g in found])


@pytest.mark.parametrize("name", ["growth", "arctangent", "fading"])
@pytest.mark.parametrize(
    ("method", "adjoint", "order"),
    [
        (Milstein(), Checkpointed(), 1.0),
        (Milstein(), Backsolve(), 1.0),
        (SRK(), Checkpointed(), 1.5),
        (ReversibleHeun(), Reversible(), 1.0),
        (Heun(), Backsolve(), 1.0),
    ],
    ids=lambda part: type(part).__name__,
)
def test_gradients_converge_to_those_of_the_closed_form(name, method, adjoint, order):
    problem = closed_form(name, rows=30)
    path = BrownianPath(0.0, 1.0, (30, 10), seed=1, dtype=DTYPE, area="space-time")
    y0 = problem.y0.clone().requires_grad_()
    loss = problem.exact(y0, ONE, path(0.0 * ONE, ONE)).square().sum()
    want = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [y0, *problem.field.parameters()])])
    field = problem.field if method.interpretation == "ito" else problem.field.to_stratonovich()
    errors = []
    for steps in (8, 16, 32, 64):
        found = gradients(field.driven_by(path), problem.y0, method, adjoint, steps)
        errors.append((1.0 / steps, float((found - want).abs().mean())))
    assert errors[-1][1] < 0.05 * float(want.abs().mean())
    assert slope(errors) > order - 0.3, errors


CASES = [
    ("diagonal", "ito", Milstein()),
    ("diagonal", "stratonovich", Midpoint()),
    ("scalar", "ito", SRK()),
    ("additive", "ito", ShARK()),
    ("commutative", "stratonovich", SlowRK()),
    ("general", "stratonovich", SPaRK()),
    ("general", "ito", EulerMaruyama()),
    ("general", "stratonovich", EulerHeun()),
]


@pytest.mark.parametrize(("noise", "sense", "method"), CASES, ids=lambda part: str(part))
def test_the_stochastic_adjoint_converges_to_the_gradient_of_the_steps(noise, sense, method):
    problem = sde_problem(noise, sense, 120)
    size = (120, 1) if noise == "scalar" else (120, 2)
    path = BrownianPath(0.0, 1.0, size, seed=3, dtype=DTYPE, area="space-time")
    field = problem.field.driven_by(path)
    exact = gradients(field, problem.y0, method, Direct(), 256, (0.0, 0.37, 1.0))
    errors = []
    for steps in (16, 64, 256):
        found = gradients(field, problem.y0, method, Backsolve(), steps, (0.0, 0.37, 1.0))
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] > 2.0 * errors[2], errors
    assert errors[2] < 0.05


def test_rows_with_spans_of_their_own_have_the_gradients_that_they_have_alone():
    problem = sde_problem("diagonal", "stratonovich", 3)
    ends, seeds = torch.tensor([1.0, 0.6, 0.8], dtype=DTYPE), torch.arange(3)

    def found(rows, adjoint):
        count = len(seeds[rows])
        path = BrownianPath(0.0, ends[rows], (count, 2), seed=seeds[rows], dtype=DTYPE)
        ts = torch.stack((torch.zeros(count, dtype=DTYPE), ends[rows]))
        field, y0 = problem.field.driven_by(path), problem.y0[rows].clone().requires_grad_()
        options = {"controller": Fixed(steps=400), "adjoint": adjoint, "per_sample": True}
        solution = solve(field, y0, ts, solver=Heun(), **options)
        return torch.autograd.grad(solution.ys[-1].square().sum(), [y0, *field.parameters()])

    together = found(slice(None), Backsolve())
    for one, exact in zip(together, found(slice(None), Direct()), strict=True):
        torch.testing.assert_close(one, exact, rtol=0.02, atol=0.02)
    alone = [found(slice(row, row + 1), Backsolve()) for row in range(3)]
    torch.testing.assert_close(together[0], torch.cat([part[0] for part in alone]), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(together[1], sum(part[1] for part in alone), rtol=1e-9, atol=1e-10)


def test_running_losses_go_through_the_stochastic_adjoint():
    problem = sde_problem("diagonal", "ito", 30)
    field = problem.field.driven_by(BrownianPath(0.0, 1.0, (30, 2), seed=5, dtype=DTYPE))
    found = []
    for adjoint in (Direct(), Backsolve()):
        y0 = problem.y0.clone().requires_grad_()
        options = {"solver": Milstein(), "controller": Fixed(steps=500), "adjoint": adjoint}
        solution = solve(field, y0, [0.0, 1.0], integral_loss=lambda t, y: y.square().sum(-1), **options)
        found.append(torch.autograd.grad(solution.integral.sum(), [y0, *field.parameters()]))
    for exact, other in zip(*found, strict=True):
        assert float((exact - other).norm()) < 0.02 * float(exact.norm())


def test_a_path_that_a_solve_drew_drives_its_backward_pass():
    problem = sde_problem("general", "stratonovich", 20)
    y0 = problem.y0.clone().requires_grad_()
    solution = solve(problem.field, y0, [0.0, 1.0], solver=SPaRK(), controller=Fixed(steps=400), adjoint=Backsolve())
    loss = solution.ys[-1].square().sum()
    grad = torch.autograd.grad(loss, y0, retain_graph=True)[0]
    again = torch.autograd.grad(loss, y0)[0]
    assert torch.equal(grad, again) and float(grad.abs().max()) > 0.0


def test_step_size_control_backwards():
    problem = sde_problem("diagonal", "stratonovich", 20)
    field = problem.field.driven_by(BrownianPath(0.0, 1.0, (20, 2), seed=5, dtype=DTYPE))
    exact = gradients(field, problem.y0, Heun(), Direct(), 512)
    errors = []
    for rtol in (1e-2, 1e-3):
        found = gradients(field, problem.y0, Heun(), Backsolve(), 0, controller=PID(rtol=rtol, atol=rtol))
        errors.append(float((found - exact).norm() / exact.norm()))
    assert 0.1 > errors[0] > 2.0 * errors[1], errors


@pytest.mark.parametrize("solver", [Milstein(), ShARK(), ReversibleHeun()], ids=str)
def test_methods_that_do_not_step_the_adjoint_are_refused(solver):
    problem = sde_problem("additive", "ito", 3)
    with pytest.raises(IncompatibleError, match=f"{type(solver).__name__} does not step the adjoint"):
        solve(problem.field, problem.y0, [0.0, 1.0], solver=SRK(), controller=Fixed(steps=4),
              adjoint=Backsolve(solver=solver))  # fmt: skip


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed", "backsolve"])
def test_a_path_has_no_derivative_by_time(adjoint):
    problem = sde_problem("diagonal", "ito", 3)
    ts = torch.tensor([0.0, 1.0], dtype=DTYPE, requires_grad=True)
    with pytest.raises(IncompatibleError, match="no derivative by time"):
        solve(problem.field, problem.y0, ts, solver=Milstein(), controller=Fixed(steps=4), adjoint=adjoint)


def test_the_stochastic_adjoint_has_no_second_derivative():
    problem = sde_problem("diagonal", "stratonovich", 3)
    y0 = problem.y0.clone().requires_grad_()
    solution = solve(problem.field, y0, [0.0, 1.0], solver=Heun(), controller=Fixed(steps=4), adjoint="backsolve")
    grad = torch.autograd.grad(solution.ys[-1].square().sum(), y0, create_graph=True)[0]
    with pytest.raises(GradientError, match="second derivative"):
        grad.sum().backward()


def test_memory_does_not_grow_with_steps():
    problem, held = sde_problem("diagonal", "stratonovich", 3), []
    for steps in (16, 64):
        y0 = problem.y0.clone().requires_grad_()
        options = {"solver": Heun(), "controller": Fixed(steps=steps), "adjoint": Backsolve()}
        nodes = [solve(problem.field, y0, [0.0, 1.0], **options).ys.grad_fn]
        for node in nodes:
            nodes += [n for n, _ in node.next_functions if n is not None and n not in nodes]
        backsolved = next(node for node in nodes if type(node).__name__ == "_BacksolvedBackward")
        held.append(sum(tensor.numel() for tensor in backsolved.saved_tensors))
    assert held[0] == held[1] < 40


def test_the_compiled_stochastic_adjoint_is_the_eager_one():
    problem = sde_problem("commutative", "ito", 4)
    field = problem.field.driven_by(BrownianPath(0.0, 1.0, (4, 2), seed=5, dtype=DTYPE, levels=6))
    eager, compiled = (
        gradients(field, problem.y0, EulerMaruyama(), Backsolve(solver=EulerHeun()), 12, compile=compile)
        for compile in (False, "require")
    )
    torch.testing.assert_close(compiled, eager, rtol=1e-9, atol=1e-11)


class Swing(Path):
    """A path with a parameter."""

    def __init__(self):
        super().__init__()
        self.size = torch.nn.Parameter(torch.tensor(0.7, dtype=DTYPE))

    def forward(self, ta, tb):
        return (self.size * (tb.sin() - ta.sin())).reshape(1, 1)


def test_gradients_to_what_a_path_holds_are_exact_or_refused():
    path = Swing()
    field = SDEField(lambda t, y: 0.0 * y, lambda t, y: y, interpretation="stratonovich").driven_by(path)
    options = {"solver": Heun(), "controller": Fixed(steps=200)}
    y0 = torch.ones(1, 1, dtype=DTYPE)
    for adjoint in (Direct(), Checkpointed()):
        end = solve(field, y0, [0.0, 1.0], adjoint=adjoint, **options).ys[-1]
        turned = torch.tensor(1.0, dtype=DTYPE).sin()
        want = turned * (0.7 * turned).exp()
        torch.testing.assert_close(torch.autograd.grad(end.sum(), path.size)[0], want, rtol=1e-4, atol=0.0)
    with pytest.raises(IncompatibleError, match="what the path holds"):
        solve(field, y0, [0.0, 1.0], adjoint=Backsolve(), **options)
