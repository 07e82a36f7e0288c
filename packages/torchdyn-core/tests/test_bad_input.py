"""Bad input: an error of the tree that says what was got and what was wanted, nothing half-done, never a hang."""

import pytest
import torch

from torchdyn_core import (
    PID,
    Direct,
    DormandPrince5,
    Fixed,
    IncompatibleError,
    IntegrationError,
    NeuralODE,
    OptionError,
    ShapeError,
    Status,
    TorchdynError,
    UnknownComponentError,
    UnknownOptionError,
    VectorField,
    solve,
)

Y0 = torch.ones(3, 2)
TS = torch.tensor([0.0, 1.0])
NAN, INF = float("nan"), float("inf")


def decay(t, y):
    return -y


@pytest.mark.parametrize(
    ("ts", "words"),
    [
        (torch.tensor([0.0, 1.0, 0.5]), "increasing"),
        (torch.tensor([0.0, NAN]), "NaN"),
        (torch.tensor([0.0, INF]), "inf"),
        (torch.tensor([0.0]), "at least two"),
        (torch.tensor([]), "at least two"),
        (torch.tensor(1.0), r"wanted \(T,\)"),
        (torch.zeros(2, 3), "per_sample=True"),
        (torch.tensor([0j, 1j]), "real"),
        ("01", "wanted a tensor"),
        (torch.tensor([0.0, 1.0], device="meta"), "device"),
    ],
)
def test_times(ts, words):
    with pytest.raises(ShapeError, match=words):
        solve(decay, Y0, ts)


@pytest.mark.parametrize(
    ("y0", "words"),
    [
        (torch.ones(2, dtype=torch.long), "float"),
        (torch.tensor([1.0, NAN]), r"NaN.*\[1\]"),
        (torch.tensor([1.0, INF]), "inf"),
        ((), "at least one"),
        ([1.0, 2.0], "wanted a tensor"),
        ({"a": torch.ones(2), "b": 3}, "wanted a tensor"),
        ((torch.ones(2), torch.ones(2, device="meta")), "one device"),
    ],
)
def test_states(y0, words):
    with pytest.raises(ShapeError, match=words):
        solve(decay, y0, TS)


def test_an_empty_batch_returns_empty_and_equal_times_return_the_state():
    for per_sample in (False, True):
        assert solve(decay, torch.ones(0, 2), TS, per_sample=per_sample).ys.shape == (2, 0, 2)
        same = solve(decay, Y0, torch.zeros(3), per_sample=per_sample)
        assert torch.equal(same.ys, Y0.expand(3, 3, 2)) and same.success and bool(same.valid.all())
        assert same.stats.evaluations == 0


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (lambda t, y: y[:2], r"shape \(2, 2\).*\(3, 2\)"),
        (lambda t, y: y.double(), "float64.*float32"),
        (lambda t, y: y.to("meta"), "meta.*cpu"),
        (lambda t, y: None, "None"),
        (lambda t, y: 1.0, "wanted a tensor"),
        (lambda t, y: (y, y), "wanted a tensor"),
    ],
)
@pytest.mark.parametrize("adjoint", ["direct", "checkpointed"])
def test_what_the_field_returns(field, words, adjoint):
    with pytest.raises(ShapeError, match=words):
        solve(field, Y0, TS, adjoint=adjoint)
    with pytest.raises(ShapeError):
        solve(lambda t, y: y["a"], {"a": Y0}, TS, adjoint=adjoint)


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed", "backsolve"])
def test_a_field_that_changes_the_state_in_place(adjoint):
    y0 = Y0.clone().requires_grad_()
    for start in (Y0, y0):
        with pytest.raises(IncompatibleError, match="in place"):
            solve(lambda t, y: y.mul_(-1.0), start, TS, adjoint=adjoint)
    assert torch.equal(y0.detach(), Y0)


@pytest.mark.parametrize("bad", [NAN, INF])
@pytest.mark.parametrize("controller", [PID(), Fixed(dt=0.05)])
def test_a_field_that_turns_to_nan_is_located(bad, controller):
    def field(t, y):
        wild = torch.zeros_like(y)
        wild[1] = bad
        return -y + torch.where(t > 0.5, wild, torch.zeros_like(y))

    with pytest.raises(IntegrationError, match=r"NaN or inf|step size") as caught:
        solve(field, Y0, TS, controller=controller)
    solution = caught.value.solution
    assert not solution.success and torch.isfinite(solution.ys).all()
    assert solution.valid.tolist() == [True, False]
    assert solution.final.t <= 0.51
    with pytest.raises(IntegrationError, match=r"sample 1 of 3 stopped at t = 0\.\d+"):
        solve(field, Y0, TS, controller=controller, per_sample=True)
    partial = solve(field, Y0, TS, controller=controller, per_sample=True, throw=False)
    assert partial.status[0] == Status.SUCCESS == partial.status[2] and partial.status[1] != Status.SUCCESS
    good = solve(lambda t, y: -y, Y0, TS, controller=controller, per_sample=True)
    assert torch.equal(partial.ys[:, [0, 2]], good.ys[:, [0, 2]]), "the others go on undisturbed"


def test_a_field_that_is_nan_at_once_names_the_rows():
    with pytest.raises(IntegrationError, match=r"t = 0.*NaN or inf there \(rows \[2\]"):
        solve(lambda t, y: torch.where(torch.arange(3)[:, None] == 2, NAN, -y), Y0, TS)


def test_exploding_and_stiff_fields_end():
    for per_sample in (False, True):
        with pytest.raises(IntegrationError, match=r"t = 1(\.0+)?\D|t = 0\.99") as caught:
            solve(lambda t, y: y * y, Y0.double(), [0.0, 2.0], per_sample=per_sample)
        assert not bool(torch.isnan(caught.value.solution.ys).any())
        with pytest.raises(IntegrationError, match="max_steps"):
            solve(lambda t, y: -1e6 * (y - torch.cos(t)), Y0.double(), [0.0, 1.0], per_sample=per_sample, max_steps=300)
    with pytest.raises(IntegrationError, match="max_steps"):
        solve(decay, Y0, TS, controller=Fixed(dt=1e-3), max_steps=10)
    with pytest.raises(IntegrationError, match="step size fell below"):
        solve(
            lambda t, y: torch.sign(torch.sin(1e9 * t)) * 1e9 + y,
            Y0,
            TS,
            controller=PID(rtol=1e-9, atol=1e-9, dt_min=1e-4),
        )


@pytest.mark.parametrize(
    "options",
    [
        {"rtol": -1.0}, {"atol": -1e-3}, {"rtol": NAN}, {"rtol": 0, "atol": 0}, {"safety": 0}, {"safety": 1.5},
        {"factor_min": 1.0}, {"factor_max": 0.5}, {"dt0": 0.0}, {"dt_min": -1}, {"dt_max": 0.0}, {"icoeff": 0.0},
        {"rtol": torch.tensor([1e-3, -1.0])}, {"rtol": "1e-3"},
    ],
)  # fmt: skip
def test_tolerances(options):
    with pytest.raises(OptionError, match="wanted"):
        PID(**options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"dt": 0.1, "steps": 3},
        {"dt": -0.1},
        {"dt": NAN},
        {"steps": 0},
        {"steps": 2.5},
        {"grid": [0.0]},
        {"grid": [0.0, 1.0, 0.5]},
    ],
)
def test_grids(options):
    with pytest.raises(OptionError):
        Fixed(**options)


def test_a_grid_with_other_ends_than_the_span():
    with pytest.raises(ShapeError, match="equal ends"):
        solve(decay, Y0, TS, solver="rk4", controller=Fixed(grid=[0.0, 0.5]))


def test_unknown_names_get_the_close_match():
    with pytest.raises(UnknownComponentError, match=r"did you mean .*dopri5"):
        solve(decay, Y0, TS, solver="dorpi5")
    with pytest.raises(UnknownComponentError, match="did you mean 'backsolve'"):
        solve(decay, Y0, TS, adjoint="backsolv")
    with pytest.raises(UnknownOptionError, match="did you mean 'controller'"):
        solve(decay, Y0, TS, controler=PID())
    with pytest.raises(UnknownComponentError, match="there are"):
        solve(decay, Y0, TS, solver="zzz")


def test_parts_of_the_wrong_kind():
    for options, words in (
        ({"solver": 3}, "wanted a configured Solver"),
        ({"adjoint": PID()}, "wanted a configured Adjoint"),
        ({"controller": 0.1}, r"wanted PID\(\.\.\.\) or Fixed"),
        ({"controller": PID}, "call it"),
        ({"solver": "rk4"}, "controller=Fixed"),
    ):
        with pytest.raises(IncompatibleError, match=words):
            solve(decay, Y0, TS, **options)
    with pytest.raises(IncompatibleError, match="callable"):
        solve(3, Y0, TS)
    for steps in (0, -1, 2.5, True):
        with pytest.raises(OptionError, match="max_steps"):
            solve(decay, Y0, TS, max_steps=steps)


def test_arguments_that_are_no_tree():
    for args in (object(), (torch.nn.Linear(2, 2),), {1, 2}):
        with pytest.raises(IncompatibleError, match="wanted a tree"):
            solve(lambda t, y, a: -y, Y0, TS, args=args)


def test_per_sample_states_of_different_sizes():
    with pytest.raises(ShapeError, match=r"2 rows.*3"):
        solve(lambda t, y: y, (torch.ones(3), torch.ones(2)), TS, per_sample=True)
    with pytest.raises(ShapeError, match="no axes"):
        solve(decay, torch.tensor(1.0), TS, per_sample=True)
    for ids in (torch.tensor([0, 1]), torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0, -1, 1]), "yes"):
        with pytest.raises(ShapeError, match=r"segment ids|per_sample"):
            solve(decay, Y0, TS, per_sample=ids)


def test_jump_times():
    for jumps, words in ((torch.tensor([NAN]), "finite"), (torch.zeros(1, 1, 1), "wanted")):
        with pytest.raises(TorchdynError, match=words):
            solve(decay, Y0, TS, controller=PID(jump_ts=jumps))
    with pytest.raises(TorchdynError, match="detach"):
        solve(decay, Y0, TS, controller=PID(jump_ts=torch.tensor([0.5], requires_grad=True)))


def test_times_outside_dense_output():
    solution = solve(decay, Y0, TS, dense=True)
    for t in (-0.1, 1.1, torch.tensor([0.5, 2.0])):
        with pytest.raises(ShapeError, match="within the span"):
            solution.evaluate(t)
    with pytest.raises(IncompatibleError, match="dense=True"):
        solve(decay, Y0, TS).evaluate(0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"save": 3}, "save=3"),
        ({"integral_loss": "x"}, "integral_loss='x'"),
        ({"dense": "no"}, "dense='no'"),
        ({"throw": "False"}, "throw='False'"),
        ({"record_steps": 1}, "record_steps=1"),
        ({"controller": lambda: PID(norm=5)}, "norm=5"),
        ({"controller": lambda: PID(rtol=torch.full((5,), 1e-3))}, r"rtol has shape \(5,\)"),
        ({"controller": lambda: PID(rtol=torch.zeros(2), atol=0.0)}, "rtol=0 and atol=0"),
        ({"controller": lambda: PID(rtol=True)}, "rtol=True"),
        ({"controller": lambda: PID(dt_max="x")}, "dt_max='x'"),
        ({"controller": lambda: PID(jump_ts="abc")}, "jump_ts"),
        ({"controller": lambda: Fixed(steps=True)}, "steps=True"),
    ],
)
def test_options_of_the_wrong_kind(options, words):
    with pytest.raises((OptionError, ShapeError), match=words):
        controller = options.get("controller", PID)
        solve(decay, Y0, TS, **{**options, "controller": controller()})


@pytest.mark.parametrize(
    "options",
    [
        {"max_steps": -1}, {"adjoint": Direct}, {"adjoint": 3}, {"solver": DormandPrince5}, {"per_sample": "x"},
        {"throw": 1}, {"save": 3}, {"controller": PID}, {"solver": "rk4"},
    ],
    ids=repr,
)  # fmt: skip
def test_a_layer_refuses_bad_options_when_it_is_made(options):
    with pytest.raises(TorchdynError):
        NeuralODE(decay, **options)


def test_a_field_may_refuse_steps_of_rows_with_its_reason():
    class Shared(VectorField):
        refuses_rows = "its rows have something in common"

        def forward(self, t, y):
            return -y

    assert solve(Shared(), Y0, TS).ys.shape == (2, 3, 2)
    for per_sample in (True, torch.tensor([0, 0, 1])):
        for refused in (lambda p=per_sample: solve(Shared(), Y0, TS, per_sample=p),
                        lambda p=per_sample: NeuralODE(Shared(), per_sample=p)):  # fmt: skip
            with pytest.raises(IncompatibleError, match="Shared takes no per_sample: its rows have something"):
                refused()
