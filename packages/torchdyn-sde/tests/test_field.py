"""Stochastic fields in a solve: noise of every kind, trees, seeds, replays, compiled solves, bad input."""

import copy
import pickle

import pytest
import torch

from torchdyn_core import (
    PID,
    Checkpointed,
    Direct,
    Fixed,
    IncompatibleError,
    IntegrationError,
    NeuralODE,
    OptionError,
    Path,
    Reversible,
    ShapeError,
    solve,
)
from torchdyn_sde import SRK, BrownianPath, EulerMaruyama, Heun, Midpoint, Milstein, ReversibleHeun, SDEField, ShARK
from torchdyn_sde.testing import sde_problem

D = torch.float64
KINDS = ["diagonal", "scalar", "additive", "general", "commutative"]
STEPS = Fixed(steps=12)


def solved(problem, solver, **options):
    options = {"controller": STEPS, "solver": solver, **options}
    return solve(problem.field, problem.y0, [0.0, 0.4, 1.0], **options)


@pytest.mark.parametrize("noise", KINDS)
def test_the_seed_is_torchs(noise):
    problem = sde_problem(noise, "ito", 3)
    torch.manual_seed(4)
    first, second = solved(problem, EulerMaruyama()).ys, solved(problem, EulerMaruyama()).ys
    torch.manual_seed(4)
    assert torch.equal(solved(problem, EulerMaruyama()).ys, first)
    assert not torch.equal(first, second)
    assert problem.field.path is None, "a solve leaves the field as it was"


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("memory", [None, 4])
def test_replayed_steps_meet_the_same_noise(noise, per_sample, memory):
    problem = sde_problem(noise, "stratonovich", 3)

    def gradients(adjoint):
        torch.manual_seed(1)
        y0 = problem.y0.clone().requires_grad_()
        options = {"solver": Heun(), "controller": STEPS, "adjoint": adjoint, "per_sample": per_sample}
        ys = solve(problem.field, y0, [0.0, 0.4, 1.0], **options).ys
        return torch.autograd.grad(ys.square().sum(), [y0, *problem.field.parameters()])

    for got, want in zip(gradients(Checkpointed(memory=memory)), gradients(Direct()), strict=True):
        assert bool(want.any())
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("per_sample", [False, True])
def test_undone_steps_meet_the_same_noise(noise, per_sample):
    problem = sde_problem(noise, "stratonovich", 3)

    def gradients(adjoint):
        torch.manual_seed(1)
        y0 = problem.y0.clone().requires_grad_()
        options = {"solver": ReversibleHeun(), "controller": Fixed(steps=50), "per_sample": per_sample}
        ys = solve(problem.field, y0, [0.0, 0.4, 1.0], adjoint=adjoint, **options).ys
        return torch.autograd.grad(ys.square().sum(), [y0, *problem.field.parameters()])

    for got, want in zip(gradients(Reversible()), gradients(Direct()), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("solver", [EulerMaruyama(), SRK(), Milstein(), Milstein(derivative=False)], ids=str)
def test_shared_steps_and_steps_per_sample_see_one_path(solver):
    """Shared steps and steps per sample of one grid see one path; so does a solve that goes on."""
    problem = sde_problem("diagonal", "ito", 4)
    ends = []
    for options in ({}, {"per_sample": True}, {"max_steps": 5, "throw": False}):
        torch.manual_seed(3)
        ends.append(solved(problem, solver, **options))
    torch.testing.assert_close(ends[0].ys, ends[1].ys, rtol=1e-12, atol=1e-13)
    options = {"solver": solver, "controller": STEPS}
    rest = solve(problem.field, ends[2].final, [ends[2].final.t, 1.0], **options)
    torch.testing.assert_close(rest.ys[-1], ends[0].ys[-1], rtol=1e-12, atol=1e-13)


def test_a_given_path_decides():
    problem = sde_problem("diagonal", "ito", 4)
    path = BrownianPath(0.0, 1.0, (4, 2), seed=5, dtype=D, grid=12)
    tree = BrownianPath(0.0, 1.0, (4, 2), seed=5, dtype=D)
    field = problem.field.driven_by(path)
    first, second = (
        solve(field, problem.y0, [0.0, 1.0], solver=Milstein(derivative=False), controller=STEPS).ys for _ in range(2)
    )
    assert torch.equal(first, second)
    other = solve(
        problem.field.driven_by(tree), problem.y0, [0.0, 1.0], solver=Milstein(derivative=False), controller=STEPS
    ).ys
    assert not torch.allclose(first, other)
    fine = solve(field, problem.y0, [0.0, 1.0], solver=Milstein(derivative=False), controller=Fixed(steps=12 * 64)).ys[
        -1
    ]
    exact = problem.exact(torch.tensor(1.0), path(*torch.tensor([0.0, 1.0], dtype=D))).detach()
    assert float((fine.detach() - exact).abs().max()) < 0.03


@pytest.mark.parametrize("sense", ["ito", "stratonovich"])
def test_backwards_in_time(sense):
    """With decreasing times the path runs backwards; in Stratonovich's sense a solve comes back to where it began."""
    problem = sde_problem("diagonal", sense, 4)
    path = BrownianPath(0.0, 1.0, (4, 2), seed=5, dtype=D, grid=400)
    field, options = problem.field.driven_by(path), {"controller": Fixed(steps=400)}
    solver = Heun() if sense == "stratonovich" else Milstein()
    there = solve(field, problem.y0, [0.0, 1.0], solver=solver, **options).ys[-1]
    back = solve(field, there, [1.0, 0.0], solver=solver, **options).ys[-1]
    assert (float((back.detach() - problem.y0).abs().max()) < 2e-2) == (sense == "stratonovich")


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("sense", ["ito", "stratonovich"])
def test_either_sense_becomes_the_other(noise, sense):
    """The converted field solves the problem that is stated in the other sense: drifts agree, entry by entry."""
    other = {"ito": "stratonovich", "stratonovich": "ito"}[sense]
    here, there = (sde_problem(noise, one, 3) for one in (sense, other))
    converted = here.field.to_ito() if other == "ito" else here.field.to_stratonovich()
    assert converted.interpretation == other and here.field.interpretation == sense
    t, y = torch.tensor(0.3, dtype=D), here.y0
    if noise != "general":  # whose problems are different ones
        torch.testing.assert_close(converted.drift(t, y), there.field.drift(t, y), rtol=1e-12, atol=1e-12)
    back = converted.to_ito() if sense == "ito" else converted.to_stratonovich()
    torch.testing.assert_close(back.drift(t, y), here.field.drift(t, y), rtol=1e-12, atol=1e-12)
    solver = EulerMaruyama() if other == "ito" else Heun()
    ys = solve(converted, y, [0.0, 1.0], solver=solver, controller=STEPS, compile=False).ys
    assert ys[-1].sum().requires_grad and bool(ys.isfinite().all())


def test_the_correction_of_noises_that_mix_is_a_sum_over_columns():
    field = sde_problem("general", "stratonovich", 3).field
    t, y = torch.tensor(0.3, dtype=D), torch.randn(3, 2, dtype=D, generator=torch.Generator().manual_seed(0))
    g, jacobian = field.diffusion(t, y), [torch.func.jacrev(lambda z: field.diffusion(t, z))(row) for row in y]
    slopes = torch.stack(jacobian)  # [row, component, column, by component]
    want = field.drift(t, y) + 0.5 * torch.einsum("rcjk,rkj->rc", slopes, g)
    torch.testing.assert_close(field.to_ito().drift(t, y), want, rtol=1e-12, atol=1e-12)


def test_trees_with_a_noise_for_each_entry_or_one_for_all():
    y0 = {"a": torch.ones(3, 2, dtype=D), "b": torch.ones(3, 1, dtype=D)}

    def half(t, y):
        return {name: -0.5 * leaf for name, leaf in y.items()}

    def columns(t, y):
        return {name: 0.1 * leaf[..., None] * torch.tensor([1.0, 2.0], dtype=D) for name, leaf in y.items()}

    def constant(t, y):
        return columns(t, {name: torch.ones_like(leaf) for name, leaf in y.items()})

    for noise, diffusion in (("diagonal", half), ("scalar", half), ("general", columns), ("additive", constant)):
        field = SDEField(half, diffusion, noise=noise)
        ys = solve(field, y0, [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS).ys
        moved = {name: leaf[-1] / y0[name] for name, leaf in ys.items()}
        same = torch.allclose(moved["a"][:, :1], moved["b"])
        assert same == (noise != "diagonal")


def test_states_of_any_shape_and_args():
    for shape in ((), (3,), (2, 3, 4)):
        y0 = torch.ones(shape, dtype=D)
        rate = torch.tensor(0.3, dtype=D, requires_grad=True)
        field = SDEField(lambda t, y, rate: -rate * y, lambda t, y, rate: rate * y)
        ys = solve(field, y0, [0.0, 1.0], args=rate, solver=SRK(), controller=STEPS).ys
        assert ys.shape == (2, *shape)
        assert torch.autograd.grad(ys[-1].sum(), rate)[0] != 0
        wide = SDEField(lambda t, y: -y, lambda t, y: y[..., None] * torch.ones(5, dtype=D), noise="general")
        assert solve(wide, y0, [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS).ys.shape == (2, *shape)


def test_modules_are_parts_of_the_field():
    field = SDEField(Scaled(), Scaled())
    assert {name for name, _ in field.named_parameters()} == {"drift.rate", "diffusion.rate"}
    assert solve(field, torch.ones(3), [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS).ys.requires_grad


class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, t, y):
        return -self.rate * y


def test_any_path_drives_a_field():
    class Line(Path):
        def forward(self, ta, tb):
            return (tb - ta) * torch.ones(3, dtype=D)

    field = SDEField(lambda t, y: 0.0 * y, lambda t, y: y, interpretation="stratonovich").driven_by(Line())
    ys = solve(field, torch.ones(3, dtype=D), [0.0, 1.0], solver=Midpoint(), controller=Fixed(steps=200)).ys
    torch.testing.assert_close(ys[-1], torch.full((3,), 2.718281828, dtype=D), rtol=1e-4, atol=1e-4)
    with pytest.raises(IncompatibleError, match="increments alone"):
        additive = SDEField(lambda t, y: y, lambda t, y: y, noise="additive").driven_by(Line())
        solve(additive, torch.ones(3, dtype=D), [0.0, 1.0], solver=ShARK(), controller=STEPS)


def test_models_that_somebody_else_compiles():
    problem = sde_problem("diagonal", "ito", 3)
    path = BrownianPath(0.0, 1.0, (3, 2), seed=1, dtype=D, grid=4)
    options = {"solver": EulerMaruyama(), "controller": Fixed(steps=4)}
    given = NeuralODE(problem.field.driven_by(path), **options)
    torch.testing.assert_close(torch.compile(given)(problem.y0), given(problem.y0), rtol=1e-12, atol=1e-12)
    drawn = torch.compile(NeuralODE(problem.field, **options))
    first, second = drawn(problem.y0), drawn(problem.y0)
    assert bool(first.isfinite().all()) and not torch.equal(first, second), "each call draws a seed of its own"


def test_copies_are_the_same():
    path = BrownianPath(0.0, 1.0, (3, 2), seed=1, grid=4)
    field = SDEField(Scaled(), Scaled()).driven_by(path)
    model = NeuralODE(field, solver=EulerMaruyama(), controller=Fixed(steps=4))
    want = model(torch.ones(3, 2))
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(other(torch.ones(3, 2)), want)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.ones(3, 2)).dtype == torch.float32
    with torch.inference_mode():
        assert torch.equal(model(torch.ones(3, 2)), want)


def test_steps_cut_by_jumps_and_samples_that_go_their_own_ways():
    field, options = SDEField(Scaled(), Scaled()), {"solver": EulerMaruyama()}
    for path in (None, BrownianPath(0.0, 1.0, (3, 2), seed=1, grid=4)):
        driven = field if path is None else field.driven_by(path)
        control = Fixed(steps=4, jump_ts=[0.33])
        assert bool(solve(driven, torch.ones(3, 2), [0.0, 1.0], controller=control, **options).ys.isfinite().all())
    ts = torch.tensor([[0.0, 0.0, 1.0], [1.0, 2.0, 1.0]])
    ends = solve(field, torch.ones(3, 2), ts, per_sample=True, controller=Fixed(dt=0.25), **options).ys[-1]
    assert torch.equal(ends[2], torch.ones(2)) and bool(ends.isfinite().all())
    ids = torch.tensor([0, 0, 1])
    ends = solve(field, torch.ones(3, 2), [0.0, 1.0], per_sample=ids, controller=Fixed(dt=0.25), **options).ys[-1]
    assert bool(ends.isfinite().all())


@pytest.mark.parametrize("noise", ["diagonal", "general"])
def test_compiled_solves_and_their_gradients(noise):
    problem = sde_problem(noise, "stratonovich", 3)

    def outcome(compile):
        torch.manual_seed(1)
        y0 = problem.y0.clone().requires_grad_()
        options = {"solver": ReversibleHeun(), "controller": STEPS, "compile": compile}
        ys = solve(problem.field, y0, [0.0, 0.4, 1.0], **options).ys
        return ys, *torch.autograd.grad(ys.square().sum(), [y0, *problem.field.parameters()])

    for got, want in zip(outcome("require"), outcome(False), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("noise", "diffusion", "says"),
    [
        ("diagonal", lambda t, y: y[..., None], r"shape \(4, 2, 1\) for a state \(4, 2\); wanted y's shape"),
        ("scalar", lambda t, y: y[..., :1], "for each component of the one noise"),
        ("general", lambda t, y: y, r"\(4, 2, m\)"),
        ("commutative", lambda t, y: y[..., None, :], r"\(4, 2, m\)"),
        ("additive", lambda t, y: y[..., :1], "or "),
        ("diagonal", lambda t, y: None, "returned NoneType"),
        ("diagonal", lambda t, y: y.float(), "dtype"),
    ],
)
def test_diffusions_of_the_wrong_shape(noise, diffusion, says):
    field = SDEField(lambda t, y: y, diffusion, noise=noise)
    with pytest.raises(ShapeError, match=says):
        solve(field, torch.ones(4, 2, dtype=D), [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS)


def test_bad_options():
    def f(t, y):
        return y

    with pytest.raises(OptionError, match="diagonal"):
        SDEField(f, f, noise="diagnal")
    with pytest.raises(OptionError, match="stratonovich"):
        SDEField(f, f, interpretation="Itô")
    for drift in (None, torch.nn.Linear):
        with pytest.raises(IncompatibleError, match="drift"):
            SDEField(drift, f)
    with pytest.raises(IncompatibleError, match="BrownianPath"):
        SDEField(f, f).driven_by(3)


MIXING = torch.tensor([[0.3, 0.2], [0.4, 0.1]], dtype=D)


@pytest.mark.parametrize(
    ("noise", "diffusion", "solver", "says"),
    [
        ("additive", lambda t, y: 0.1 * y, EulerMaruyama(), "depends on the state"),
        ("additive", lambda t, y: 0.1 * y[..., None] * MIXING, ShARK(), "depends on the state"),
        ("diagonal", lambda t, y: torch.tanh(y @ MIXING), SRK(), "other entries"),
        ("diagonal", lambda t, y: torch.tanh(y @ MIXING), Milstein(), "other entries"),
        ("commutative", sde_problem("general", "ito", 3).field.diffusion, Milstein(), "columns 0 and 1"),
    ],
)
def test_noise_that_is_not_what_it_is_declared_to_be(noise, diffusion, solver, says):
    field = SDEField(lambda t, y: -y, diffusion, noise=noise)
    y0 = torch.linspace(0.2, 0.9, 6, dtype=D).reshape(3, 2)
    with pytest.raises(IncompatibleError, match=says):
        solve(field, y0, [0.0, 1.0], solver=solver, controller=STEPS)


def test_noises_that_do_not_rest_on_it_are_not_asked():
    field = SDEField(lambda t, y: -y, lambda t, y: torch.tanh(y @ MIXING))
    assert bool(solve(field, torch.ones(3, 2, dtype=D), [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS).success)
    # an entry's own derivative alone counts where one sense becomes the other
    t, y = torch.tensor(0.3, dtype=D), torch.randn(3, 2, dtype=D, generator=torch.Generator().manual_seed(0))
    own = torch.stack([torch.func.jacrev(lambda z: field.diffusion(t, z))(row).diagonal() for row in y])
    want = field.drift(t, y) - 0.5 * own * field.diffusion(t, y)
    torch.testing.assert_close(field.to_stratonovich().drift(t, y), want, rtol=1e-12, atol=1e-12)


def test_methods_that_do_not_fit_name_those_that_do():
    y0 = torch.ones(3, 2, dtype=D)
    for noise, sense, solver, says in (
        ("general", "ito", SRK(), "EulerMaruyama"),
        ("diagonal", "stratonovich", EulerMaruyama(), r"to_stratonovich|to_ito.*Heun"),
        ("diagonal", "ito", ShARK(), "SRK"),
    ):
        with pytest.raises(IncompatibleError, match=says):
            solve(sde_problem(noise, sense, 3).field, y0, [0.0, 1.0], solver=solver, controller=STEPS)
    with pytest.raises(IncompatibleError, match="SDEField"):
        solve(lambda t, y: y, y0, [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS)
    with pytest.raises(IncompatibleError, match="no forward"):
        solve(sde_problem("diagonal", "ito", 3).field, y0, [0.0, 1.0], solver="rk4", controller=STEPS)
    with pytest.raises(IncompatibleError, match="Fixed"):
        solve(sde_problem("diagonal", "ito", 3).field, y0, [0.0, 1.0], solver=EulerMaruyama(), controller=PID())


def test_paths_that_do_not_fit():
    problem = sde_problem("diagonal", "ito", 4)
    short, narrow = BrownianPath(0.0, 0.5, (4, 2), seed=1, dtype=D), BrownianPath(0.0, 1.0, (4, 1), seed=1, dtype=D)
    for path, says in ((short, "known from 0 to 0.5"), (narrow, r"noise has shape \(4, 2\)")):
        with pytest.raises(ShapeError, match=says):
            solve(problem.field.driven_by(path), problem.y0, [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS)
    with pytest.raises(IncompatibleError, match="space-time"):
        plain = BrownianPath(0.0, 1.0, (4, 2), seed=1, dtype=D)
        solve(problem.field.driven_by(plain), problem.y0, [0.0, 1.0], solver=SRK(), controller=STEPS)


def test_a_drift_that_is_not_finite_says_where():
    field = SDEField(lambda t, y: torch.where(t > 0.5, torch.nan, 1.0) * y, lambda t, y: y)
    with pytest.raises(IntegrationError, match="rows"):
        solve(field, torch.ones(3, 2), [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS)


def test_names_work_at_the_front_door():
    problem = sde_problem("diagonal", "ito", 3)
    assert bool(solved(problem, "sde.srk").ys.isfinite().all())


def test_a_solve_that_goes_on_asks_about_a_given_path_anew():
    path = BrownianPath(0.0, 2.0, (1, 1), seed=3, dtype=D, grid=0.1)
    field = SDEField(lambda t, y: 0.0 * y, lambda t, y: torch.ones_like(y)).driven_by(path)
    options = {"solver": EulerMaruyama(), "controller": Fixed(steps=10)}
    first = solve(field, torch.zeros(1, 1, dtype=D), [0.0, 1.0], **options)
    end = solve(field, first.final, [1.0, 1.5], **options).ys[-1]
    zero, late = torch.tensor(0.0, dtype=D), torch.tensor(1.5, dtype=D)
    torch.testing.assert_close(end, path(zero, late), rtol=1e-11, atol=1e-12)


def test_what_a_field_declares_is_tried_before_a_solve_is_compiled():
    wrong = SDEField(lambda t, y: -y, lambda t, y: 1.0 + y, noise="additive")
    for _ in range(2):
        with pytest.raises(IncompatibleError, match="depends on the state"):
            solve(wrong, torch.ones(3), [0.0, 1.0], solver=ShARK(), controller=STEPS, compile="require")


def test_shapes_that_say_no_noise_are_told():
    scalar = SDEField(lambda t, y: 0.0 * y, lambda t, y: y, noise="scalar")
    with pytest.raises(ShapeError, match="times of their own"):
        solve(scalar, torch.ones(4), [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS, per_sample=True)
    row = SDEField(lambda t, y: 0.0 * y, lambda t, y: torch.ones(3), noise="additive")
    with pytest.raises(ShapeError, match=r"wanted y's shape \(\)"):
        solve(row, torch.ones(()), [0.0, 1.0], solver=EulerMaruyama(), controller=STEPS)
