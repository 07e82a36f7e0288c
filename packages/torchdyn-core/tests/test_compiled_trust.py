"""A compiled loop is compared with its own steps before it is believed."""

import shutil
import warnings

import pytest
import torch
from torch import nn

from torchdyn_core import PID, DormandPrince5, autonomous, solve
from torchdyn_core.compiled import elementary, reason
from torchdyn_core.compiled.driver import entries
from torchdyn_core.compiled.forward import Forward
from torchdyn_core.compiled.trust import Miscompiled
from torchdyn_core.compiled.while_loop import Loop
from torchdyn_core.errors import FallbackWarning, IncompatibleError

compiles = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)


def halving(wrong=0.0, written=0.0, decided=0, beside=0.0):
    """A loop that halves a number and writes it down, without a compiler; it may do so wrongly."""

    def step(left, count, y, buffer):
        buffer[int(left) - 1] = y + beside
        return [left - 1, count + 1, y / 2]

    def call(left, count, y, buffer):
        for _ in range(int(left)):
            left, count, y = step(left, count, y, buffer)
        buffer[0] += written
        return [left, count + decided, y + wrong]

    loop = Loop.__new__(Loop)
    loop._call, loop._sizes, loop._literals = call, [], []
    loop._step, loop._carried, loop._written = step, 3, [3]
    return loop


def compare(loop, y=1.0, **options):
    start = torch.full((2,), y, dtype=torch.float64)
    memory = torch.full((3, 2), 1e300, dtype=torch.float64)  # as buffers come
    found = loop.compare([torch.tensor(3), torch.tensor(0), start, memory], 3, [2], [1], **options)
    assert torch.equal(start.nan_to_num(), torch.full_like(start, y).nan_to_num()) and (memory == 1e300).all()
    return found


@pytest.mark.parametrize("y", [1.0, float("nan"), float("inf"), 1e-300])
def test_equal_results_are_trusted(y):
    assert compare(halving(), y).found[0] == 0


@pytest.mark.parametrize("mistake", [{"wrong": 1e-4}, {"written": 1e-4}, {"wrong": float("nan")}])
def test_other_results_are_not(mistake):
    with pytest.raises(Miscompiled, match="whose results are not those of its steps"):
        compare(halving(**mistake))


def test_rounding_is_no_mistake_nor_is_a_decision_that_it_turned():
    assert compare(halving(wrong=1e-9)).found[2].tolist() == [0.125 + 1e-9] * 2
    rounds = compare(halving(wrong=1.0, decided=1))
    assert rounds.found[:2] == [0, 4] and rounds.turned and not compare(halving()).turned


def test_under_autocast_rounding_is_that_of_the_narrow_type():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert compare(halving(wrong=5e-3)).found[0] == 0
        with pytest.raises(Miscompiled):
            compare(halving(wrong=5e-2))


def test_what_is_zero_but_for_rounding_is_measured_by_the_rest():
    loop = halving(wrong=1e-12, beside=1.0)
    with pytest.raises(Miscompiled):
        compare(loop, 1e-12)
    assert compare(loop, 1e-12, floor=1e-3).found[0] == 0


def test_rounds_at_once_are_those_one_by_one():
    loop, start = halving(), [torch.tensor(3), torch.tensor(0), torch.ones(2, dtype=torch.float64), torch.zeros(3, 2)]
    right = [torch.tensor(0), torch.tensor(3), torch.full((2,), 0.125, dtype=torch.float64)]
    loop.repeats(start, right, [1, 2])
    with pytest.raises(Miscompiled, match="not those of its rounds one by one"):
        loop.repeats(start, [*right[:2], 1.01 * right[2]], [1, 2])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 3))

    def forward(self, y):
        return self.net(y)


class Turned(Net):
    """Captured by itself, as are its like: equal structures share what is compiled."""


class Doubtful(Net):
    """Likewise."""


class AtOnce(Net):
    """Likewise."""


class Another(Net):
    """Captured by itself, while equal structures share what is compiled."""


OPTIONS = {"solver": DormandPrince5(), "controller": PID(rtol=1e-3, atol=1e-3)}


@pytest.fixture
def untouched(monkeypatch):
    monkeypatch.setattr(reason, "_miscompiled", [])


@pytest.fixture
def wrong(monkeypatch):
    """From then on compilers take another function for tanh."""

    def start():
        target = torch.ops.aten.tanh.default
        monkeypatch.setitem(elementary.DECOMPOSITIONS, target, lambda x: 0.9 * elementary.tanh(x))

    return start


@compiles
def test_a_loop_that_is_compiled_wrongly_is_not_believed(untouched, wrong):
    wrong()
    field, y0, ts = autonomous(Net()), torch.randn(4, 3), torch.tensor([0.0, 1.0])
    expected = solve(field, y0, ts, **OPTIONS).ys
    before = entries()
    with pytest.warns(FallbackWarning, match="not those of its steps"):
        found = solve(field, y0, ts, compile=True, **OPTIONS).ys
    assert torch.equal(found, expected) and entries() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        assert torch.equal(solve(field, 2 * y0, ts, compile=True, **OPTIONS).ys, solve(field, 2 * y0, ts, **OPTIONS).ys)
    with pytest.raises(IncompatibleError, match="not those of its steps"):
        solve(field, y0, ts, compile="require", **OPTIONS)


@compiles
def test_nor_is_one_that_decides_otherwise(untouched, monkeypatch):
    """Not even in a step whose error is far below what is tolerated, where rounding turns nothing."""

    def turned(self, *arguments):
        found = list(original(self, *arguments))
        found[2] = found[2] + 1  # accepted
        return found

    original = Loop.__call__
    field, y0, ts = autonomous(Turned()), torch.randn(4, 3), torch.tensor([0.0, 1.0])
    monkeypatch.setattr(Loop, "__call__", turned)
    with pytest.warns(FallbackWarning, match="decides otherwise than its steps"):
        found = solve(field, y0, ts, compile=True, **OPTIONS).ys
    assert torch.equal(found, solve(field, y0, ts, **OPTIONS).ys)


@compiles
def test_a_decision_that_rounding_turned_is_looked_at_where_there_is_no_doubt(untouched, monkeypatch):
    """The first step is the one in doubt here; it is taken again, shorter."""

    def doubtful(self, *tensors):
        found = list(original(self, *tensors))
        if not done:
            found[2] = found[2] + 1  # accepted
        done.append(tensors)
        return found

    original, done, shorter = Loop.__call__, [], []
    field, y0, ts = autonomous(Doubtful()), torch.randn(4, 3), torch.tensor([0.0, 1.0])
    monkeypatch.setattr(Loop, "__call__", doubtful)
    take = Forward._shorter
    monkeypatch.setattr(Forward, "_shorter", lambda self, head: shorter.append(take(self, head)) or shorter[-1])
    found = solve(field, y0, ts, compile="require", **OPTIONS).ys
    changed = [(float(a), float(b)) for a, b in zip(done[0], shorter[0], strict=False) if not torch.equal(a, b)]
    assert len(shorter) == 1 and len(changed) == 1 and changed[0][1] == changed[0][0] / 16
    torch.testing.assert_close(found, solve(field, y0, ts, **OPTIONS).ys, rtol=1e-3, atol=1e-4)


@compiles
def test_nor_is_one_whose_rounds_disturb_each_other(untouched, monkeypatch):
    """Here it is right as long as it goes round once."""

    def disturbed(self, *tensors):
        found = list(original(self, *tensors))
        if int(found[1]) - int(tensors[1]) > 1:  # steps tried
            found = [part * 1.01 if part.shape == (4, 3) else part for part in found]
        return found

    original = Loop.__call__
    field, y0, ts = autonomous(AtOnce()), torch.randn(4, 3), torch.tensor([0.0, 1.0])
    monkeypatch.setattr(Loop, "__call__", disturbed)
    with pytest.warns(FallbackWarning, match="not those of its rounds one by one"):
        found = solve(field, y0, ts, compile=True, **OPTIONS).ys
    assert torch.equal(found, solve(field, y0, ts, **OPTIONS).ys)


@compiles
def test_an_option_of_torchs_that_loops_do_not_stand_is_not_theirs():
    with torch._inductor.config.patch(memory_planning=True):
        field, y0, ts = autonomous(AtOnce()), torch.randn(4, 3), torch.tensor([0.0, 1.0])
        found = solve(field, y0, ts, compile="require", **OPTIONS).ys
    torch.testing.assert_close(found, solve(field, y0, ts, **OPTIONS).ys, rtol=1e-4, atol=1e-5)


@compiles
def test_nor_is_a_gradient(untouched, wrong):
    net, y0, ts = Another(), torch.randn(4, 3), torch.tensor([0.0, 1.0])
    field, before = autonomous(net), entries()
    weights = list(net.parameters())
    expected = torch.autograd.grad(solve(field, y0, ts, **OPTIONS).ys.square().sum(), weights)
    loss = solve(field, y0, ts, compile=True, **OPTIONS).ys.square().sum()
    assert entries() > before
    wrong()
    with pytest.warns(FallbackWarning, match="computes this gradient eagerly: .* not those of its steps"):
        found = torch.autograd.grad(loss, weights)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert reason.distrusted() is not None
