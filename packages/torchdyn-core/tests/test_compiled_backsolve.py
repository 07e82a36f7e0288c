"""Backsolve, compiled: the eager backward solve's gradients, from compiled loops in both directions."""

import itertools
import shutil
import sys
import warnings

import pytest
import torch
from torch import nn

from torchdyn_core import PID, Adjoint, Backsolve, Fixed, IncompatibleError, VectorField, autonomous, solve
from torchdyn_core.adjoint.continuous import AdjointField
from torchdyn_core.compiled import capture
from torchdyn_core.compiled.driver import entries
from torchdyn_core.errors import FallbackWarning, GradientError, IntegrationError
from torchdyn_core.testing.compiled import skip_unless_tried
from torchdyn_core.tree import leaves, tree_map

pytestmark = [
    pytest.mark.usefixtures("unhurried"),
    pytest.mark.skipif(
        not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
    ),
]

DTYPE = torch.float64
TIGHT = PID(rtol=1e-7, atol=1e-7)
GRID = Fixed(dt=0.1)


def net(*sizes):
    torch.manual_seed(0)
    layers = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Tanh())]
    return nn.Sequential(*layers[:-1]).double()


NET, ENERGY, UNUSED = net(2, 8, 2), net(2, 8, 1), nn.Parameter(torch.ones(3, dtype=DTYPE))
W = torch.tensor(0.5, dtype=DTYPE, requires_grad=True)
Y = torch.randn(5, 2, dtype=DTYPE, generator=torch.Generator().manual_seed(1))
FIELD = autonomous(NET)
TARGETS = [*NET.parameters(), *ENERGY.parameters(), W, UNUSED]


class Mine(VectorField):
    """A field with parameters that it does not use."""

    def __init__(self):
        super().__init__()
        self.net, self.unused = NET, UNUSED

    def forward(self, t, y):
        return self.net(y) * torch.cos(t)


class Jumps(Mine):
    def forward(self, t, y):
        return self.net(y) * torch.where(t < 0.5, 1.0, 3.0)

    def breakpoints(self, t0, t1):
        return torch.tensor([0.5, 7.0], dtype=DTYPE)


def times(*values):
    return torch.tensor(values, dtype=DTYPE)


def energy(t, y):
    return torch.autograd.grad(ENERGY(y).sum(), y, create_graph=True)[0] * torch.tensor([1.0, -1.0], dtype=DTYPE)


def tree(t, y, args):
    return {"a": NET(y["a"]) * args["r"], "b": -y["b"] * t}


def norm(ratio):
    return torch.stack([leaf.abs().amax() for leaf in leaves(ratio)]).amax()


SPANS = torch.stack((torch.zeros(5), torch.linspace(0.0, 0.6, 5), torch.linspace(0.5, 1.5, 5)), 0).to(DTYPE)
EXACT, CLOSE = 1e-12, 1e-9
USUAL = ("fixed, times", "adaptive, reports", "jumps", "spans of their own")
CASES = {
    "fixed, times": (Mine(), Y, times(0, 0.4, 1.1), EXACT, {"solver": "rk4", "controller": GRID, "timed": True}),
    "steps, backwards": (Mine(), Y, times(1.5, 0.3, 0), EXACT, {"solver": "heun", "controller": Fixed(steps=7)}),
    "adaptive, reports": (Mine(), Y, times(0, 0.4, 1.1, 1.5), CLOSE, {"solver": "dopri5"}),
    "whole norm, running loss": (
        Mine(), Y, times(0, 0.4, 1.5), CLOSE,
        {"adjoint": Backsolve(seminorm=False), "integral_loss": lambda t, y: (W * t * y * y).sum()},
    ),
    "tree, arguments, a norm": (
        tree, {"a": Y, "b": Y[:, :1]}, times(0, 1.0), CLOSE,
        {"args": {"r": W}, "controller": PID(rtol=1e-7, atol=1e-7, norm=norm)},
    ),
    "gradient inside, a method of its own": (
        energy, Y, times(0, 1.0), EXACT,
        {"adjoint": Backsolve(solver=None, controller=Fixed(dt=0.2)), "controller": Fixed(dt=0.1)},
    ),
    "jumps": (Jumps(), Y, times(0, 0.3, 0.7, 1.5), CLOSE, {"timed": True}),
    "per sample, jumps": (Jumps(), Y, times(0, 0.7, 1.5), CLOSE, {"per_sample": True, "timed": True}),
    "spans of their own": (
        Mine(), Y, SPANS, CLOSE,
        {"per_sample": True, "timed": True, "integral_loss": lambda t, y: (W * t * y).sum(-1)},
    ),
}  # fmt: skip


def outcome(field, y0, ts, compile, timed=False, **options):
    y0 = tree_map(lambda leaf: leaf.clone().requires_grad_(), y0)
    ts = ts.clone().requires_grad_(timed)
    options = {"solver": "bosh3", "controller": TIGHT, "adjoint": "backsolve", **options}
    solution = solve(field, y0, ts, compile=compile, **options)
    loss = torch.stack([(leaf.abs() ** 3).sum() + leaf.sum() for leaf in leaves(solution.ys)]).sum()
    if solution.integral is not None:
        loss = loss + solution.integral.sum()
    before = entries()
    grads = torch.autograd.grad(loss, [*leaves(y0), *TARGETS, *([ts] if timed else [])], allow_unused=True)
    return solution, [loss, *grads], entries() - before


@pytest.mark.parametrize("case", CASES)
def test_gradients_and_counts_are_those_of_the_eager_backward_solve(case):
    skip_unless_tried(usual=case in USUAL)
    field, y0, ts, tolerance, options = CASES[case]
    before = entries()
    got, found, backward = outcome(field, y0, ts, "require", **options)
    assert backward >= len(ts) - 1 and entries() > before + backward, "both passes are compiled loops"
    want, wanted, _ = outcome(field, y0, ts, False, **options)
    for a, b in zip(found, wanted, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    assert got.stats.steps == want.stats.steps and got.stats.replayed == want.stats.replayed
    assert got.stats.backward_evaluations == want.stats.backward_evaluations


@pytest.fixture
def captures(monkeypatch):
    """How many graphs were captured so far."""
    made, init = [], capture.Captured.__init__

    def counted(self, graph):
        made.append(1)
        init(self, graph)

    monkeypatch.setattr(capture.Captured, "__init__", counted)
    return made


def trained(steps, controller, spans):
    """Losses of a few steps of gradient descent, each over another span and towards other targets."""
    model, seen = autonomous(net(2, 6, 2)), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for index, span in enumerate(spans):
        ts = torch.linspace(0.0, span, 7, dtype=DTYPE)
        options = {"solver": "bosh3", "controller": controller, "adjoint": "backsolve"}
        loss = (solve(model, Y, ts, compile=steps, **options).ys - index).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


@pytest.mark.parametrize(("controller", "most"), [(TIGHT, 2), (Fixed(dt=0.1), 2), (Fixed(steps=12), 3)])
def test_one_capture_each_way_serves_all_intervals_and_training_steps(captures, controller, most):
    """What changes is an input: weights, cotangents, times, and a grid too, whose length is then a symbol."""
    skip_unless_tried(usual=controller is not TIGHT)
    spans = [1.0, 1.0, 0.7, 1.5, 1.2]
    before = entries()
    got = trained("require", controller, spans)
    assert len(captures) <= most and entries() - before == len(spans) * 7
    torch.testing.assert_close(got, trained(False, controller, spans), rtol=1e-9, atol=0)


def test_another_size_of_the_batch_costs_one_more_capture_each_way(captures):
    """And a batch may be a part of the data, wherever that begins."""
    data = torch.randn(40, 2, dtype=DTYPE)
    for first, rows in ((0, 5), (3, 7), (10, 9), (15, 25)):
        found = []
        for compile in ("require", False):
            ys = solve(
                FIELD, data[first : first + rows], [0.0, 0.5, 1.0], solver="euler", controller=GRID, compile=compile,
                adjoint="backsolve",
            ).ys  # fmt: skip
            found.append(torch.autograd.grad(ys.square().sum(), list(NET.parameters())))
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    assert len(captures) == 4


def gradient(field, compile, adjoint="backsolve", **options):
    y0 = Y.clone().requires_grad_()
    options = {"solver": "heun", "controller": Fixed(steps=4), **options}
    loss = solve(field, y0, [0.0, 0.5, 1.0], adjoint=adjoint, compile=compile, **options).ys.square().sum()
    return loss, lambda: torch.autograd.grad(loss, [y0, NET[0].weight], allow_unused=True)


def test_a_field_that_cannot_be_captured_is_solved_eagerly_both_ways_and_says_so_once():
    def branches(t, y):
        return -NET(y) if y.sum() > -1e9 else y

    before = entries()
    with pytest.warns(FallbackWarning, match=r"(?s)Data-dependent branching.*test_compiled") as said:
        got = gradient(branches, True)[1]()
    assert len([w for w in said if w.category is FallbackWarning]) == 1 and entries() == before
    for a, b in zip(got, gradient(branches, False)[1](), strict=True):
        assert torch.equal(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradient(branches, True)[1]()
    with pytest.raises(IncompatibleError, match=r"compile='require'.*branching"):
        gradient(branches, "require")


class Looking(AdjointField):
    def forward(self, t, y, *args):
        assert float(t) >= 0.0
        return super().forward(t, y, *args)


class Looks(Mine):
    """Its continuous adjoint looks at a value."""

    def adjoint_field(self, bound, problem):
        return Looking(bound, problem)


def test_a_backward_solve_that_cannot_be_captured_is_eager_and_says_so():
    before = entries()
    backward = gradient(Looks(), True)[1]
    assert entries() == before + 1
    with pytest.warns(FallbackWarning, match="compile=True runs eagerly"):
        got = backward()
    assert entries() == before + 1
    for a, b in zip(got, gradient(Looks(), False)[1](), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
    backward = gradient(Looks(), "require")[1]
    with pytest.raises(IncompatibleError, match="compile='require'"):
        backward()


HIDDEN, HERE = torch.ones(2, dtype=DTYPE, requires_grad=True), sys.modules[__name__]


def test_a_gradient_that_would_be_lost_is_an_error():
    """The graph has what a walk through the field does not find."""
    backward = gradient(lambda t, y: NET(y) * getattr(HERE, "HID" + "DEN"), "require")[1]
    with pytest.raises(GradientError, match=r"shape \(2,\) that requires grad and could not be found"):
        backward()


def test_a_backward_solve_that_fails_says_where():
    adjoint = Backsolve(controller=PID(rtol=1e-13, atol=1e-13))
    backward = gradient(Mine(), "require", adjoint, controller=PID(rtol=1e-3, atol=1e-3), max_steps=40)[1]
    with pytest.raises(IntegrationError, match="the backward solve of adjoint='backsolve' stopped at t ="):
        backward()


class Stranger(Adjoint):
    """An adjoint of somebody else: it hands the loop a tape."""

    replays = False

    def run(self, problem, loop):
        self.told = []
        with torch.no_grad():
            return loop(problem, self)

    def push(self, record, y, carry):
        self.told.append(record)


class Willing(Stranger):
    compiles = True


def test_an_adjoint_that_does_not_compile_is_an_error_and_one_with_a_tape_is_served_eagerly():
    with pytest.raises(IncompatibleError, match="Stranger does not compile; 'checkpointed' and 'backsolve' do"):
        gradient(Mine(), True, Stranger())
    willing = Willing()
    with pytest.warns(FallbackWarning, match="a tape of its own"):
        gradient(Mine(), True, willing)
    assert len(willing.told) == 4
