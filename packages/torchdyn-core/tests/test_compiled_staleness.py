"""A compiled solve is never one of yesterday's field: whatever changes is an input, or is captured again."""

import gc
import shutil
import weakref

import pytest
import torch
from torch import nn

from torchdyn_core import ButcherTableau, Euler, Fixed, Heun, SolveDropout, VectorField, autonomous, solve
from torchdyn_core.compiled import capture
from torchdyn_core.compiled.engine import Engine
from torchdyn_core.errors import FallbackWarning

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)

DTYPE = torch.float64
GRID = Fixed(steps=3)
gain = 1.0
Y = torch.tensor([1.0, 0.5], dtype=DTYPE)


class Field(VectorField):
    def __init__(self):
        super().__init__()
        self.lin, self.scale, self.cfg, self.act, self.power = (
            nn.Linear(2, 2).double(),
            1.0,
            {"g": [1.0]},
            torch.tanh,
            1,
        )
        self.register_buffer("shift", torch.zeros(2, dtype=DTYPE))

    def forward(self, t, y):
        y = self.act(self.lin(y)) ** self.power * self.scale * self.cfg["g"][0] * gain
        return y * (1.0 if self.training else 0.5) + self.shift


@pytest.fixture
def captures(monkeypatch):
    """How many graphs were captured so far."""
    made, init = [], capture.Captured.__init__

    def counted(self, graph):
        made.append(1)
        init(self, graph)

    monkeypatch.setattr(capture.Captured, "__init__", counted)
    return made


def check(field, y0, ts=(0.0, 1.0), controller=GRID):
    with torch.no_grad():
        got, want = (
            solve(field, y0, list(ts), solver=Euler(), controller=controller, compile=compile).ys
            for compile in ("require", False)
        )
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


def test_whatever_changes_takes_effect(captures):
    global gain
    field, y0 = Field(), torch.randn(5, 2, dtype=DTYPE)
    check(field, y0)
    check(field, y0)
    assert len(captures) == 1

    def changed(how, again):
        how()
        before = len(captures)
        check(field, y0)
        assert len(captures) == before + again

    changed(lambda: setattr(field, "scale", 2.0), 1)
    changed(lambda: field.cfg["g"].__setitem__(0, 0.5), 1)
    changed(lambda: setattr(field, "power", 2), 1)
    changed(lambda: field.eval(), 1)
    changed(lambda: setattr(field, "act", torch.sin), 1)
    changed(lambda: globals().__setitem__("gain", 3.0), 1)
    changed(lambda: field.shift.add_(0.1), 0)
    changed(lambda: setattr(field, "shift", torch.full((2,), -0.2, dtype=DTYPE)), 0)
    changed(lambda: setattr(field, "lin", nn.Linear(2, 2).double()), 0)
    changed(lambda: field.load_state_dict(Field().state_dict()), 0)
    check(field, y0, ts=(0.5, 0.1))
    before = len(captures)
    check(field, y0, controller=Fixed(steps=4))
    assert len(captures) == before + 1, "the number of steps is read, so it is guarded"
    gain = 1.0


def test_sizes_cost_one_more_capture_and_instances_none(captures):
    """The batch is a symbol from the second size on; equal fields share what was captured, and are let go."""
    field = autonomous(nn.Linear(2, 2).double())
    for rows in (5, 7, 11, 300):
        check(field, torch.randn(rows, 2, dtype=DTYPE))
    assert len(captures) == 2
    gone = []
    for _ in range(200):
        other = autonomous(nn.Linear(2, 2).double())
        with torch.no_grad():
            solve(other, torch.ones(5, 2, dtype=DTYPE), [0.0, 1.0], solver=Euler(), controller=GRID, compile="require")
        gone.append(weakref.ref(other))
        del other
    gc.collect()
    assert len(captures) == 2 and sum(reference() is not None for reference in gone) == 0


def test_gradients_follow_parameters_that_an_optimizer_moves():
    net = nn.Linear(2, 2).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    y0 = torch.ones(3, 2, dtype=DTYPE)
    for _ in range(3):
        grads = []
        for compile in ("require", False):
            ys = solve(autonomous(net), y0, [0.0, 1.0], solver=Euler(), controller=GRID, compile=compile).ys
            grads.append(torch.autograd.grad(ys.square().sum(), [net.weight, net.bias]))
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)
        optimizer.zero_grad()
        for parameter, grad in zip(net.parameters(), grads[0], strict=True):
            parameter.grad = grad
        optimizer.step()


def test_what_is_drawn_for_a_solve_is_an_input(captures):
    net = nn.Sequential(nn.Linear(2, 16), SolveDropout(0.5), nn.Linear(16, 2)).double()
    y0, seen = torch.ones(3, 2, dtype=DTYPE), []
    for seed in (1, 2, 1):
        for compile in ("require", False):
            torch.manual_seed(seed)
            with torch.no_grad():
                seen.append(solve(autonomous(net), y0, [0.0, 1.0], solver=Euler(), controller=GRID, compile=compile).ys)
    for got, want in zip(seen[::2], seen[1::2], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
    assert not torch.equal(seen[0], seen[2]) and torch.equal(seen[0], seen[4]) and len(captures) == 1


class Own(Heun):
    """A method of somebody else's, whose coefficients are a class attribute, as they are for all."""


class Wrapped(Heun):
    """One that takes them from another."""

    inner = Own()

    def __init__(self):
        self.tableau = ButcherTableau(c=(0.0, 1.0), a=((1.0,),), b=(0.5, 0.5))

    def step(self, field, t0, t1, y, state):
        step = super().step(field, t0, t1, y, state)
        return step._replace(y=step.y * self.inner.tableau.b[0])


def test_coefficients_that_are_replaced_take_effect(captures):
    """They are not guarded one by one: captures are kept for one tableau, which does not change."""

    def follows(solver):
        got, want = (
            solve(rate, Y, [0.0, 1.0], solver=solver, controller=GRID, compile=c).ys for c in ("require", False)
        )
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)
        return got

    def rate(t, y):
        return -y

    solver, other = Own(), ButcherTableau(c=(0.0, 1.0), a=((1.0,),), b=(0.25, 0.75))
    before = follows(solver)
    again = len(captures)
    follows(solver)
    assert len(captures) == again
    Own.tableau = other
    try:
        assert not torch.equal(follows(solver), before) and len(captures) > again
        wrapped = Wrapped()
        before = follows(wrapped)
        Own.tableau = Heun.tableau
        assert not torch.equal(follows(wrapped), before)
        before = follows(wrapped)
        wrapped.tableau = other
        assert not torch.equal(follows(wrapped), before)
    finally:
        Own.tableau = Heun.tableau


def test_a_value_that_changes_with_every_solve_is_spoken_of(monkeypatch):
    monkeypatch.setattr(capture, "LIMIT", 2)
    field, y0 = Field(), torch.ones(2, 2, dtype=DTYPE)
    with pytest.warns(FallbackWarning, match="was captured 2 times, since a Python value"):
        for scale in (1.0, 2.0, 3.0):
            field.scale = scale
            check(field, y0)


def test_kernels_of_one_size_are_not_used_for_another(monkeypatch):
    """Where what was assumed of symbols does not hold, kernels are made for constants, and serve these alone."""
    admits = Engine.admits
    monkeypatch.setattr(Engine, "admits", lambda self, flat, rows: not self.moves and admits(self, flat, rows))
    field = autonomous(nn.Linear(3, 3).double())
    for rows in (2, 3, 4, 5, 4):
        check(field, torch.randn(rows, 3, dtype=DTYPE))
