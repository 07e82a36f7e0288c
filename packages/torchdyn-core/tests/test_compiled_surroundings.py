"""What a field meets outside of itself: namespaces, classes, torch's settings; and what it may not do to it."""

import contextlib
import functools
import itertools
import shutil
import sys
import types
import warnings

import pytest
import torch
from torch import nn

from torchdyn_core import Checkpointed, Fixed, IncompatibleError, VectorField, autonomous, solve
from torchdyn_core.compiled import capture
from torchdyn_core.errors import FallbackWarning

pytestmark = [
    pytest.mark.usefixtures("unhurried"),
    pytest.mark.skipif(
        not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
    ),
]

DTYPE = torch.float64
Y = torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=DTYPE)
OPTIONS = {"solver": "euler", "controller": Fixed(steps=2)}


def value(field, compile="require", y0=Y, **options):
    return solve(field, y0, [0.0, 1.0], compile=compile, **OPTIONS | options).ys[-1]


def check(field):
    """A compiled solve is the eager one; returns its value."""
    found = value(field)
    torch.testing.assert_close(found, value(field, False), rtol=1e-12, atol=1e-13)
    return found


TEXT = """
rate, table = 1.0, {"k": [1.0]}

def inner(y):
    return y

def field(t, y):
    return -rate * table["k"][0] * inner(y)
"""


def test_globals_of_a_namespace_without_a_name_are_guarded():
    """As `exec` makes them, or a notebook's magic."""
    names = {"torch": torch}
    exec(TEXT, names)
    seen = [check(names["field"])]
    names["rate"] = 2.0
    seen.append(check(names["field"]))
    names["table"]["k"][0] = 3.0
    seen.append(check(names["field"]))
    names["inner"] = lambda y: y * y
    seen.append(check(names["field"]))
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(seen))


class Helper:
    factor = 1.0

    def __init__(self, y):
        self.y = y

    @classmethod
    def whole(cls, y):
        return cls.factor * y

    def part(self):
        return self.y


def test_methods_of_classes_that_a_field_names_take_effect(monkeypatch):
    """Of the class itself, and of what is made of it while the field is evaluated."""

    def field(t, y):
        return -Helper.whole(y) - 0.1 * Helper(y).part()

    seen = [check(field)]
    monkeypatch.setattr(Helper, "whole", classmethod(lambda cls, y: 2.0 * y))
    seen.append(check(field))
    monkeypatch.setattr(Helper, "part", lambda self: 3.0 * self.y)
    seen.append(check(field))
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


class Left(VectorField):
    def slope(self, y):
        return -y


class Right(VectorField):
    def slope(self, y):
        return -2.0 * y


def test_a_wrapper_that_is_replaced_and_other_bases_take_effect():
    def plain(self, y):
        return -y

    def doubled(self, y):
        return 2.0 * plain(self, y)

    def tripled(self, y):
        return 3.0 * plain(self, y)

    functools.update_wrapper(doubled, plain)
    functools.update_wrapper(tripled, plain)

    class Heir(Left):
        def forward(self, t, y):
            return self.slope(y)

    field = Heir()
    seen = [check(field)]
    Heir.__bases__ = (Right,)
    seen.append(check(field))
    for wrapper in (doubled, tripled):
        Heir.slope = wrapper
        seen.append(check(field))
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[2], seen[3])


def test_what_is_written_by_name_or_in_a_list_is_seen():
    kept = torch.ones(2, 2, dtype=DTYPE)

    def named(t, y):
        with torch.no_grad():
            torch.add(kept, 1.0, out=kept)
        return -y * kept

    def listed(t, y):
        with torch.no_grad():
            torch._foreach_add_([kept], 1.0)
        return -y * kept

    for field in (named, listed):
        with pytest.raises(IncompatibleError, match="compile='require'"):
            value(field)
        assert bool((kept == 1.0).all())


@pytest.mark.parametrize("made", [lambda w: w.item(), float, lambda w: w.long().item()], ids=["item", "float", "int"])
def test_a_number_that_is_made_of_a_tensor_is_refused_by_line(made):
    """Every time: it would be a constant of what is compiled, or rounded to single precision."""
    weight = torch.tensor(1.3, dtype=DTYPE)

    def field(t, y):
        return -y * made(weight)

    for _ in range(2):
        with pytest.raises(IncompatibleError, match=r"Python number of a tensor.*test_compiled_surroundings.py"):
            value(field)


def test_numbers_made_of_sizes_are_differentiated_for_every_size():
    net = nn.Linear(2, 2).double()

    def gradient(y0, compile):
        y0 = y0.clone().requires_grad_()
        return torch.autograd.grad(value(field, compile, y0).square().sum(), [y0, *net.parameters()])

    def field(t, y):
        return net(y).tanh() / max(y.shape[0], 1) / y.shape[0] ** 0.5

    for rows in (3, 5, 7):
        y0 = torch.randn(rows, 2, dtype=DTYPE)
        for found, expected in zip(gradient(y0, "require"), gradient(y0, False), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("rows", [0, 3])
def test_a_batch_may_be_empty(rows):
    y0 = torch.ones(rows, 2, dtype=DTYPE)
    found = solve(lambda t, y: -y, y0, [0.0, 1.0], compile="require").ys
    torch.testing.assert_close(found, solve(lambda t, y: -y, y0, [0.0, 1.0]).ys)


@pytest.mark.parametrize("jumps", [[0.0], [0.5, 1.0]])
def test_gradients_of_times_at_a_jump_are_those_of_the_eager_loop(jumps):
    weight = torch.tensor(0.7, dtype=DTYPE)

    def gradient(compile):
        ts = torch.tensor([0.0, 1.0], dtype=DTYPE, requires_grad=True)
        controller = Fixed(steps=2, jump_ts=torch.tensor(jumps, dtype=DTYPE))
        field, options = lambda t, y: torch.sin(y * weight) + t * 0.3, {"solver": "heun", "controller": controller}
        return torch.autograd.grad(solve(field, Y, ts, compile=compile, **options).ys[-1].square().sum(), ts)[0]

    torch.testing.assert_close(gradient("require"), gradient(False), rtol=1e-12, atol=1e-13)


@pytest.fixture
def float32():
    """Whatever a test sets."""
    yield
    torch.set_default_dtype(torch.float32)


def test_a_gradient_is_of_the_default_dtype_that_was_solved_under(float32):
    weight = torch.tensor(1.5, dtype=DTYPE, requires_grad=True)

    def field(t, y):
        return -y * weight * torch.full((2,), 1 / 3).to(DTYPE)

    def gradient(compile, switched=False):
        y0 = Y.clone().requires_grad_()
        end = value(field, compile, y0)
        if switched:
            torch.set_default_dtype(DTYPE)
        grads = torch.autograd.grad(end.sum(), [y0, weight])
        torch.set_default_dtype(torch.float32)
        return grads

    expected = gradient(False)
    for switched in (True, False):
        for a, b in zip(gradient("require", switched), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-14, atol=0)


@pytest.mark.parametrize("memory", [None, 12])
def test_a_gradient_is_of_the_autocast_setting_that_was_solved_under(memory):
    """Outside of the region, as torch recommends, or inside; its loop is compared in the narrow type, too."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 4))
    field, y0 = autonomous(net), torch.randn(8, 4)
    options = {"solver": "heun", "controller": Fixed(steps=20), "adjoint": Checkpointed(memory=memory)}

    def gradient(inside):
        y = y0.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            end = solve(field, y, [0.0, 1.0], compile="require", **options).ys[-1]
        with torch.autocast("cpu", dtype=torch.bfloat16) if inside else contextlib.nullcontext():
            return torch.autograd.grad(end.square().sum(), [y, *net.parameters()])

    outside, again, inside = gradient(False), gradient(False), gradient(True)
    for a, b, c in zip(outside, again, inside, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


def test_reasons_are_told_in_the_words_of_the_field():
    class Counts:
        calls = 0

        def __call__(self, t, y):
            self.calls += 1
            return -y

    with pytest.raises(IncompatibleError, match=r"changes Python objects while it is evaluated.*Solution.stats"):
        value(Counts())
    with pytest.raises(IncompatibleError, match=r"draws random numbers.*wanted it drawn once a solve"):
        value(lambda t, y: -y + torch.randn_like(y))
    module = types.ModuleType("of_nobody")
    exec("def field(t, y):\n    return -scale * y\nscale = 2.0", module.__dict__)
    assert "of_nobody" not in sys.modules
    with pytest.raises(IncompatibleError, match=r"module 'of_nobody' is not in sys.modules"):
        value(module.field)


def test_many_fields_of_one_class_are_not_one_that_changes(monkeypatch):
    monkeypatch.setattr(capture, "LIMIT", 2)

    class Rates:
        def __init__(self, *rates):
            self.rates = rates

        def __call__(self, t, y):
            return -sum(self.rates) * y

    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        for count in range(1, 5):
            check(Rates(*[1.0] * count))


def test_methods_of_different_classes_do_not_share_a_limit(monkeypatch):
    monkeypatch.setattr(capture, "LIMIT", 2)
    made = [type(f"Made{index}", (), {"slope": lambda self, t, y, index=index: -index * y}) for index in range(4)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        for kind in made:
            check(kind().slope)
