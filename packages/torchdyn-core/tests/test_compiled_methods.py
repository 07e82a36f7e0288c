"""Methods replaced on a class, hooks that come and go: what torch does not guard, or not by default."""

import shutil

import pytest
import torch
from torch import nn

from torchdyn_core import Fixed, VectorField, solve
from torchdyn_core.compiled import capture

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)

Y = torch.tensor([1.0, 0.5], dtype=torch.float64)


class Rate:
    """Not a module."""

    def __call__(self, y):
        return -y


class Layer(nn.Module):
    def forward(self, y):
        return 2 * y


class Base(VectorField):
    @property
    def power(self):
        return 1

    @staticmethod
    def sign():
        return 1.0

    def outer(self, y):
        return y


class Field(Base):
    def __init__(self):
        super().__init__()
        self.layer, self.rate = Layer(), Rate()

    def forward(self, t, y):
        return self.sign() * self.outer(self.layer(self.rate(y))) ** self.power


def value(field, compile="require"):
    return solve(field, Y, [0.0, 1.0], solver="euler", controller=Fixed(steps=2), compile=compile).ys[-1]


@pytest.fixture
def follows(monkeypatch):
    """Checks that a compiled solve is that of the field as it is, and another one than before."""
    field, made, init = Field(), [], capture.Captured.__init__
    monkeypatch.setattr(capture.Captured, "__init__", lambda self, graph: (made.append(1), init(self, graph))[1])
    seen = [value(field)]

    def check():
        got = value(field)
        torch.testing.assert_close(got, value(field, False), rtol=1e-12, atol=0)
        assert not torch.equal(got, seen[-1])
        count = len(made)
        assert torch.equal(value(field), got) and len(made) == count, "and that one is used again"
        seen.append(got)
        return field

    check.field = field
    return check


@pytest.mark.parametrize(
    ("owner", "name", "new"),
    [
        (Field, "forward", lambda self, t, y: y / 3),
        (Layer, "forward", lambda self, y: y / 3),
        (Rate, "__call__", lambda self, y: y / 3),
        (Base, "outer", lambda self, y: y / 3),
        (Base, "power", property(lambda self: 2)),
        (Base, "sign", staticmethod(lambda: 0.5)),
    ],
)
def test_a_method_that_is_replaced_on_its_class_takes_effect(follows, monkeypatch, owner, name, new):
    monkeypatch.setattr(owner, name, new)
    follows()


def test_a_method_that_comes_to_stand_in_front_of_an_inherited_one_takes_effect(follows, monkeypatch):
    monkeypatch.setattr(Field, "outer", lambda self, y: y / 3, raising=False)
    follows()
    monkeypatch.undo()


def test_code_that_is_reloaded_takes_effect(follows, monkeypatch):
    """As notebooks reload it: the functions stay, and get other code."""
    monkeypatch.setattr(Base.outer, "__code__", (lambda self, y: y / 3).__code__)
    follows()
    monkeypatch.setattr(Layer.forward, "__code__", (lambda self, y: y / 5).__code__)
    follows()


def test_hooks_take_effect_when_they_come_and_when_they_go(follows):
    for module in (follows.field, follows.field.layer):
        hook = module.register_forward_hook(lambda module, args, out: 0.5 * out)
        follows()
        hook.remove()
        follows()
        hook = module.register_forward_pre_hook(lambda module, args: tuple(0.7 * arg for arg in args))
        follows()
        hook.remove()
        follows()
