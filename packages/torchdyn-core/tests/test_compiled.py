"""compile=: the eager loop's values and gradients, from compiled loops; entries tell that they were entered."""

import itertools
import re
import shutil
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from torchdyn_core import (
    PID,
    Checkpointed,
    Fixed,
    IncompatibleError,
    IntegrationError,
    NeuralODE,
    OptionError,
    ShapeError,
    autonomous,
    solve,
)
from torchdyn_core.compiled import driver
from torchdyn_core.compiled.driver import entries
from torchdyn_core.compiled.engine import Engine
from torchdyn_core.errors import FallbackWarning
from torchdyn_core.tree import leaves, tree_map

pytestmark = [
    pytest.mark.usefixtures("unhurried"),
    pytest.mark.skipif(
        not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
    ),
]

DTYPE = torch.float64
TIGHT = PID(rtol=1e-7, atol=1e-7)


def net(*sizes):
    torch.manual_seed(0)
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).double()


NET, ENERGY = net(2, 8, 2), net(2, 8, 1)
W = torch.tensor(0.5, dtype=DTYPE, requires_grad=True)
Y = torch.randn(5, 2, dtype=DTYPE, generator=torch.Generator().manual_seed(1))
FIELD = autonomous(NET)


def forced(t, y):
    return NET(y) * torch.cos(t)


def times(*values):
    return torch.tensor(values, dtype=DTYPE)


CASES = {
    "fixed, backwards, times": (
        forced, Y, times(1.5, 0.3, 0.0), {"solver": "rk4", "controller": Fixed(dt=0.1), "timed": True},
    ),
    "grid": (forced, Y, times(0.0, 1.0), {"solver": "euler", "controller": Fixed(grid=[0.0, 0.3, 1.0])}),
    "adaptive, reports, times": (forced, Y, times(0, 0.4, 1.1, 1.5), {"timed": True}),
    "per sample, jumps": (
        lambda t, y: NET(y) * torch.where(t < 0.5, 1.0, 3.0), Y, times(0, 0.7, 1.5),
        {"per_sample": True, "controller": PID(rtol=1e-7, atol=1e-7, jump_ts=[0.5]), "timed": True},
    ),
    "segments": (FIELD, Y, times(0, 0.7, 1.5), {"per_sample": torch.tensor([0, 0, 1, 1, 2])}),
    "tree, arguments": (
        lambda t, y, args: {"a": NET(y["a"]) * args["r"], "b": -y["b"] * t}, {"a": Y, "b": Y[:, :1]}, times(0, 1.0),
        {"args": {"r": W}},
    ),
    "running loss": (FIELD, Y, times(0, 0.4, 1.5), {"integral_loss": lambda t, y: (W * t * y * y).sum()}),
    "gradient inside, by func": (
        lambda t, y: torch.func.grad(lambda z: ENERGY(z).sum())(y), Y, times(0, 1.5), {},
    ),
    "gradient inside, by autograd": (
        lambda t, y: torch.autograd.grad(ENERGY(y).sum(), y, create_graph=True)[0], Y, times(0, 1.5), {},
    ),
    "bounded memory": (FIELD, Y, times(0, 0.4, 1.5), {"adjoint": Checkpointed(memory=9), "solver": "bosh3"}),
    "dopri8, dense": (FIELD, Y, times(0, 0.7, 1.5), {"solver": "dopri8", "dense": True}),
}  # fmt: skip


def outcome(field, y0, ts, compile, timed=False, **options):
    y0 = tree_map(lambda leaf: leaf.clone().requires_grad_(), y0)
    ts = ts.clone().requires_grad_(timed)
    solution = solve(field, y0, ts, compile=compile, **{"solver": "tsit5", "controller": TIGHT, **options})
    loss = torch.stack([(leaf.abs() ** 3).sum() + leaf.sum() for leaf in leaves(solution.ys)]).sum()
    if solution.integral is not None:
        loss = loss + solution.integral.sum()
    if options.get("dense"):
        loss = loss + solution.evaluate(times(0.1, 0.9)).square().sum()
    targets = [*leaves(y0), *NET.parameters(), *ENERGY.parameters(), W, *([ts] if timed else [])]
    grads = torch.autograd.grad(loss, targets, allow_unused=True)
    return solution, loss, [torch.zeros_like(x) if g is None else g for x, g in zip(targets, grads, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_values_gradients_and_counts_are_those_of_the_eager_loop(case):
    field, y0, ts, options = CASES[case]
    before = entries()
    got, loss, grads = outcome(field, y0, ts, "require", **options)
    assert entries() > before, "no compiled loop was entered"
    want, wanted_loss, wanted = outcome(field, y0, ts, False, **options)
    torch.testing.assert_close(loss, wanted_loss, rtol=1e-11, atol=0)
    for a, b in zip(grads, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert got.stats.steps == want.stats.steps
    if options.get("solver") in ("rk4", "bosh3", "dopri8"):  # stages that only dense output needs, in every step
        assert got.stats.evaluations >= want.stats.evaluations
    else:
        assert got.stats.evaluations == want.stats.evaluations
    assert torch.equal(torch.as_tensor(got.stats.accepted), torch.as_tensor(want.stats.accepted))
    assert torch.equal(torch.as_tensor(got.stats.rejected), torch.as_tensor(want.stats.rejected))
    assert torch.equal(got.valid, want.valid) and torch.equal(got.status, want.status)


def test_second_derivatives_go_through_the_recorded_steps():
    def second(compile):
        y0 = Y.clone().requires_grad_()
        loss = (
            solve(FIELD, y0, [0.0, 0.3, 1.0], solver="rk4", controller=Fixed(steps=4), compile=compile).ys.pow(3).sum()
        )
        (first,) = torch.autograd.grad(loss, y0, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [y0, *NET.parameters()], allow_unused=True)

    for a, b in zip(second("require"), second(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_sample_that_fails_fails_alone_and_says_so():
    def explodes(t, y):
        return y * y

    y0 = torch.tensor([[0.1], [1.0], [0.2]], dtype=DTYPE)
    options = {"per_sample": True, "controller": TIGHT}
    got = solve(explodes, y0, times(0, 1, 3), compile="require", throw=False, **options)
    want = solve(explodes, y0, times(0, 1, 3), throw=False, **options)
    assert torch.equal(got.status, want.status) and torch.equal(got.valid, want.valid)
    torch.testing.assert_close(got.ys[:, [0, 2]], want.ys[:, [0, 2]], rtol=1e-9, atol=1e-10)
    with pytest.raises(IntegrationError, match=r"sample 1 of 3 stopped at t = 1"):
        solve(explodes, y0, times(0, 1, 3), compile="require", **options)
    got = solve(explodes, y0, times(0, 0.5, 0.9), compile="require", throw=False, max_steps=4, **options)
    assert got.status.tolist() == [0, 1, 0] and got.stats.steps == 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"controller": TIGHT, "max_steps": 3}, "max_steps"),
        ({"controller": TIGHT}, "the step size fell below"),
        ({"controller": TIGHT, "max_steps": 3, "per_sample": True}, "max_steps"),
        ({"controller": Fixed(dt=0.1)}, "returned NaN or inf"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_a_failure_is_told_in_the_words_of_the_eager_loop(options, reason):
    """Which sample, where, at which step size, and why."""

    def ends(t, y):
        return y * torch.sqrt(0.7 - t)

    def told(compile):
        y0 = torch.tensor([[0.1], [1.0]], dtype=DTYPE)
        with pytest.raises(IntegrationError, match=reason) as caught:
            solve(ends, y0, times(0, 0.3, 1), solver="heun", compile=compile, **options)
        return str(caught.value), caught.value.solution

    before = entries()
    (got, compiled), (want, eager) = told("require"), told(False)
    assert entries() > before
    if "step size" in reason:  # as small as they are there, errors are rounding, and so are decisions
        got, want = (re.sub(r"after \d+ steps", "", words) for words in (got, want))
    assert got == want
    assert torch.equal(compiled.status, eager.status) and torch.equal(compiled.valid, eager.valid)


def test_a_solve_goes_on_where_a_compiled_one_stopped():
    whole = solve(FIELD, Y, [0.0, 1.0], controller=TIGHT, max_steps=500)
    for first, second in (("require", False), (False, "require"), ("require", "require")):
        part = solve(FIELD, Y, [0.0, 1.0], controller=TIGHT, max_steps=2, throw=False, compile=first)
        rest = solve(FIELD, part.final, [part.final.t, 1.0], controller=TIGHT, compile=second)
        assert rest.stats.steps + 2 == whole.stats.steps
        torch.testing.assert_close(rest.ys[-1], whole.ys[-1], rtol=1e-12, atol=1e-13)


def test_a_layer_compiles():
    layer = NeuralODE(FIELD, controller=TIGHT, compile="require")
    torch.testing.assert_close(layer(Y), NeuralODE(FIELD, controller=TIGHT)(Y), rtol=1e-11, atol=1e-12)


def test_what_cannot_be_captured_runs_eagerly_and_says_why_once():
    def branches(t, y):
        return -y if y.sum() > 0 else y

    before = entries()
    with pytest.warns(FallbackWarning, match=r"(?s)Data-dependent branching.*test_compiled"):
        got = solve(branches, Y, [0.0, 1.0], compile=True)
    assert torch.equal(got.ys, solve(branches, Y, [0.0, 1.0]).ys) and entries() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(branches, Y, [0.0, 1.0], compile=True)
    with pytest.raises(IncompatibleError, match=r"compile='require'.*branching"):
        solve(branches, Y, [0.0, 1.0], compile="require")


def test_one_field_that_cannot_be_captured_does_not_keep_others_from_it():
    """Though both are lifted networks, of one class."""

    class Branches(nn.Module):
        def forward(self, y):
            return -y if y.sum() > 0 else y

    bad = autonomous(Branches())
    with pytest.warns(FallbackWarning, match="Data-dependent branching"):
        solve(bad, Y, [0.0, 1.0], compile=True)
    solve(bad, Y, [0.0, 1.0], compile=True)
    before = entries()
    solve(FIELD, Y, [0.0, 1.0], compile=True)
    assert entries() == before + 1


def test_a_bound_on_memory_that_is_too_low_to_compile_is_kept_eagerly():
    with pytest.warns(FallbackWarning, match="memory=4; compiled solves need at least 8"):
        solution = solve(FIELD, Y, [0.0, 1.0], controller=TIGHT, adjoint=Checkpointed(memory=4), compile=True)
    torch.testing.assert_close(solution.ys, solve(FIELD, Y, [0.0, 1.0], controller=TIGHT).ys, rtol=0, atol=0)


def test_bad_input_is_the_error_that_it_is_without_compiling():
    with pytest.raises(ShapeError, match="grid runs from 0 to 2"):
        solve(FIELD, Y, [0.0, 1.0], solver="rk4", controller=Fixed(grid=[0.0, 2.0]), compile="require")


@pytest.mark.parametrize(
    "field",
    [
        lambda t, y: {"a": -y["a"]},
        lambda t, y: {"a": -y["a"], "b": y["b"].float()},
        lambda t, y: {"a": -y["a"], "b": None},
        lambda t, y: {"a": -y["a"], "b": y["a"] @ y["b"]},
        lambda t, y: {"a": -y["a"], "b": -y["c"]},
    ],
    ids=["structure", "dtype", "nothing", "arithmetic", "key"],
)
def test_a_field_that_is_wrong_is_told_so_in_the_words_of_the_eager_loop(field):
    y0 = {"a": Y, "b": Y.clone()}
    with pytest.raises((ShapeError, RuntimeError, KeyError)) as eager:
        solve(field, y0, [0.0, 1.0])
    with pytest.raises(type(eager.value), match=re.escape(str(eager.value))):
        solve(field, y0, [0.0, 1.0], compile="require")


def test_a_dict_may_come_back_in_another_order():
    y0 = {"a": Y, "b": [2.0 * Y, {"c": 3.0 * Y, "d": 4.0 * Y}]}

    def field(t, y):
        below = y["b"][1]
        return {"b": [-2.0 * y["b"][0], {"d": -4.0 * below["d"], "c": -3.0 * below["c"]}], "a": -y["a"]}

    options = {"solver": "heun", "controller": Fixed(steps=4)}
    for compile in (False, "require"):
        got = solve(field, y0, [0.0, 1.0], compile=compile, **options).ys
        found = got["a"], got["b"][0], got["b"][1]["c"], got["b"][1]["d"]
        for rate, part in enumerate(found, 1):
            want = solve(lambda t, y, rate=rate: -rate * y, rate * Y, [0.0, 1.0], **options).ys
            torch.testing.assert_close(part, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("per_sample", [False, True])
def test_what_save_makes_of_the_state_is_reported(per_sample):
    def report(compile):
        y0 = Y.clone().requires_grad_()
        options = {"solver": "tsit5", "controller": TIGHT, "per_sample": per_sample, "compile": compile}
        ys = solve(FIELD, y0, [0.0, 0.4, 1.0], save=lambda t, y: t * W * y[..., :1], **options).ys
        return ys, *torch.autograd.grad(ys.square().sum(), [y0, W])

    for a, b in zip(report("require"), report(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_field_that_changes_itself_or_draws_is_not_compiled():
    class Counts(nn.Module):
        calls = 0

        def forward(self, t, y):
            self.calls += 1
            return -y

    field = Counts()
    with pytest.raises(IncompatibleError, match="compile='require'"):
        solve(field, Y, [0.0, 1.0], compile="require")
    with pytest.raises(IncompatibleError, match="draws random numbers"), pytest.warns(FallbackWarning):
        solve(lambda t, y: -y + 0.0 * torch.randn_like(y), Y, [0.0, 1.0], compile=True)


def test_what_a_field_reads_may_lie_in_memory_as_it_likes():
    """Parts of tensors, transposed ones, and those of one number that was expanded."""
    big = torch.randn(5, 4, dtype=DTYPE)
    part, row, other = big[:, :2], big[:1, :1].expand(5, 2), torch.randn(2, 5, dtype=DTYPE).T

    def field(t, y):
        return torch.sin(y) * part - y * row + other

    def gradient(compile):
        y0 = Y.clone().requires_grad_()
        ys = solve(field, y0, [0.0, 1.0], solver="heun", controller=Fixed(steps=3), compile=compile).ys
        return ys, *torch.autograd.grad(ys.sum(), y0)

    for a, b in zip(gradient("require"), gradient(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_an_axis_of_one_entry_may_have_any_stride():
    def made(compile):
        column = times(0.3, -0.2).reshape(2, 1).requires_grad_()
        ts = times(0.0, 0.4, 1.0)[None].mT  # (3, 1), strides (1, 3)
        first = solve(FIELD, column.T, ts, per_sample=True, compile=compile)  # (1, 2), strides (1, 1)
        second = solve(FIELD, first.final, ts[-1:] + ts[:2], per_sample=True, compile=compile)
        picked = first.ys[:, :, :1].mT + second.ys.sum()  # so is the gradient that comes back
        return picked, torch.autograd.grad(picked.sum(), column)[0]

    for got, want in zip(made("require"), made(False), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-12)


def test_a_field_may_write_to_its_own_copy_of_the_state_and_no_further():
    def doubles(t, y):
        return -y.mul_(2.0)

    got = solve(doubles, Y, [0.0, 1.0], controller=TIGHT, compile="require")
    torch.testing.assert_close(got.ys, solve(lambda t, y: -2 * y, Y, [0.0, 1.0], controller=TIGHT).ys)
    kept = torch.ones(2, dtype=DTYPE)
    with pytest.raises(IncompatibleError, match="writes to what it reads"):
        solve(lambda t, y: -y * kept.add_(1.0), Y, [0.0, 1.0], compile="require")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"compile": "maybe"}, OptionError, "wanted True, False, or 'require'"),
        ({"compile": True, "adjoint": "direct"}, IncompatibleError, "Direct does not compile; 'checkpointed' and"),
    ],
)
def test_what_makes_no_sense_is_refused(options, error, words):
    with pytest.raises(error, match=words):
        solve(FIELD, Y, [0.0, 1.0], **options)
    with pytest.raises(error, match=words):
        NeuralODE(FIELD, **options)


def test_threads_compile_and_solve_side_by_side():
    def both(t, y):
        return torch.sin(y) - y

    want, got = solve(both, Y, [0.0, 1.0], controller=TIGHT).ys, []

    def work():
        got.append(solve(both, Y, [0.0, 1.0], controller=TIGHT, compile="require").ys)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 4
    for ys in got:
        torch.testing.assert_close(ys, want, rtol=1e-11, atol=1e-12)


def test_a_gradient_whose_loop_cannot_be_made_is_computed_eagerly(monkeypatch):
    def breaks(*arguments):
        raise RuntimeError("no loop")

    def gradient(compile):
        y0 = Y.clone().requires_grad_()
        ys = solve(FIELD, y0, [0.0, 0.3, 1.0], solver="rk4", controller=Fixed(steps=4), compile=compile).ys
        return torch.autograd.grad(ys.square().sum(), [y0, NET[0].weight])

    want = gradient(False)
    monkeypatch.setattr(Engine, "backward", breaks)
    with pytest.warns(FallbackWarning, match="computes this gradient eagerly: RuntimeError: no loop"):
        got = gradient(True)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)
        assert not a.requires_grad
    with pytest.raises(IncompatibleError, match=r"compile='require'.*no loop"):
        gradient("require")


def test_another_torch_is_not_trusted(monkeypatch):
    monkeypatch.setattr(driver, "TESTED", ("2.12",))
    with pytest.warns(FallbackWarning, match=r"compiled solves are tested with torch 2\.12"):
        assert solve(FIELD, Y, [0.0, 1.0], compile=True).success


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's, in forward mode
def test_forward_mode_is_refused_and_leaves_nothing_behind():
    before = entries()
    with forward_ad.dual_level(), pytest.raises(IncompatibleError, match="does not go through forward mode"):
        solve(FIELD, forward_ad.make_dual(Y, Y), [0.0, 1.0], controller=TIGHT, compile="require")
    solve(FIELD, Y, [0.0, 1.0], controller=TIGHT, compile=True)
    assert entries() == before + 1


def test_with_torchs_compiler_switched_off_it_runs_eagerly_and_compiled_again_later():
    want = solve(FIELD, Y, [0.0, 1.0], compile="require").ys
    before = entries()
    with torch.compiler.set_stance("force_eager"), pytest.warns(FallbackWarning, match="is switched off"):
        got = solve(FIELD, Y, [0.0, 1.0], compile=True).ys
    assert entries() == before
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    assert torch.equal(solve(FIELD, Y, [0.0, 1.0], compile="require").ys, want) and entries() == before + 1


def test_without_a_compiler_it_runs_eagerly():
    settings = {"cpp.cxx": ("no-such-compiler",), "fx_graph_cache": False}
    with torch._inductor.config.patch(settings), pytest.warns(FallbackWarning, match="compile=True runs eagerly"):
        solution = solve(lambda t, y: torch.cos(y) * 0.5, Y, [0.0, 1.0], compile=True)
    assert solution.success
