"""Fields that wrap fields: higher order, data control, depth as a feature."""

import math

import pytest
import torch
from torch import nn

from torchdyn_augment import DataControlled, DepthConcat, HigherOrder
from torchdyn_core import (
    PID,
    Backsolve,
    Fixed,
    IncompatibleError,
    NeuralODE,
    OptionError,
    ShapeError,
    VectorField,
    autonomous,
    solve,
)
from torchdyn_core.testing import FieldSuite

DTYPE = torch.float64
TIGHT = PID(rtol=1e-9, atol=1e-9)


def net(*sizes):
    torch.manual_seed(0)
    return autonomous(nn.Sequential(nn.Linear(sizes[0], sizes[1]), nn.Tanh(), nn.Linear(sizes[1], sizes[2])))


class TestHigherOrder(FieldSuite):
    shape = (4, 6)

    def make(self):
        return HigherOrder(net(6, 8, 2), order=3)


class TestHigherOrderOnImages(FieldSuite):
    shape = (3, 4, 5, 5)

    def make(self):
        torch.manual_seed(0)
        return HigherOrder(autonomous(nn.Conv2d(4, 2, 3, padding=1)))


class TestDataControlled(FieldSuite):
    def make(self):
        return DataControlled(net(4, 8, 2))

    def make_like(self, field, y):
        return field.begin(torch.tensor(0.0), torch.tensor(1.0), y)


class TestDepthConcat(FieldSuite):
    def make(self):
        return DepthConcat(net(3, 8, 2))


class TestDepthConcatOnImages(FieldSuite):
    shape = (3, 2, 5, 5)

    def make(self):
        torch.manual_seed(0)
        return DepthConcat(autonomous(nn.Conv2d(3, 2, 3, padding=1)))


class TestAllOfThem(FieldSuite):
    shape = (4, 4)

    def make(self):
        return HigherOrder(DataControlled(DepthConcat(net(9, 8, 2))))

    def make_like(self, field, y):
        return self.make().begin(torch.tensor(0.0), torch.tensor(1.0), y)


def test_a_spring_of_second_order_swings():
    y0 = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=DTYPE)
    ts = torch.linspace(0.0, 3.0, 4, dtype=DTYPE)
    ys = solve(HigherOrder(lambda t, y: -y[:, :1]), y0, ts, controller=TIGHT).ys
    x, v = y0[:, 0], y0[:, 1]
    want = torch.stack(
        (x * ts[:, None].cos() + v * ts[:, None].sin(), v * ts[:, None].cos() - x * ts[:, None].sin()), -1
    )
    torch.testing.assert_close(ys, want, rtol=1e-7, atol=1e-7)


def test_order_one_is_the_field_itself():
    y0 = torch.randn(3, 2, dtype=DTYPE)
    wrapped = solve(HigherOrder(lambda t, y: torch.sin(y + t), order=1), y0, [0.0, 1.0], controller=TIGHT).ys
    assert torch.equal(wrapped, solve(lambda t, y: torch.sin(y + t), y0, [0.0, 1.0], controller=TIGHT).ys)


def test_order_three_along_the_last_axis():
    """x''' = 6 from rest at 0 is t ** 3."""
    y0 = torch.zeros(2, 5, 3, dtype=DTYPE)
    field = HigherOrder(lambda t, y: torch.full_like(y[..., :1], 6.0), order=3, axis=-1)
    end = solve(field, y0, [0.0, 2.0], controller=TIGHT).ys[-1]
    torch.testing.assert_close(end, torch.tensor([8.0, 12.0, 12.0], dtype=DTYPE).expand(2, 5, 3))


def test_the_control_is_the_initial_state_with_its_gradient():
    """dy/dt = y0 from y0 is y0 (1 + t): its gradient is 1 + t with the control's, 1 without."""
    for detach, want in ((False, 3.0), (True, 1.0)):
        y0 = torch.tensor([[0.5], [-2.0]], dtype=DTYPE, requires_grad=True)
        field = DataControlled(lambda t, y: y[:, 1:], detach=detach)
        end = solve(field, y0, [0.0, 2.0], controller=TIGHT).ys[-1]
        torch.testing.assert_close(end, 3.0 * y0)
        (grad,) = torch.autograd.grad(end.sum(), y0)
        torch.testing.assert_close(grad, torch.full_like(y0, want))


@pytest.mark.parametrize("adjoint", ["direct", "checkpointed", Backsolve(controller=TIGHT)])
def test_the_controls_gradient_is_that_of_every_adjoint(adjoint):
    y0 = torch.randn(3, 2, dtype=DTYPE, requires_grad=True)
    field = DataControlled(net(4, 8, 2).double())
    end = solve(field, y0, [0.0, 1.0], controller=TIGHT, adjoint=adjoint).ys[-1]
    got = torch.autograd.grad(end.square().sum(), [y0, *field.parameters()])

    def plain(t, y):
        return field.field(t, torch.cat((y[0], y[1]), 1)), torch.zeros_like(y[1])

    end = solve(plain, (y0, y0), [0.0, 1.0], controller=TIGHT, adjoint="direct").ys[0][-1]
    for a, b in zip(got, torch.autograd.grad(end.square().sum(), [y0, *field.parameters()]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_two_solves_have_controls_of_their_own():
    field = DataControlled(lambda t, y: y[:, 1:])
    first, second = torch.ones(2, 1), 5 * torch.ones(2, 1)
    for y0 in (first, second, first):
        torch.testing.assert_close(solve(field, y0, [0.0, 1.0]).ys[-1], 2 * y0)
    assert field.control is None


def test_depth_is_a_feature_for_shared_times_and_for_times_of_rows():
    """dy/dt = t is y0 + t ** 2 / 2."""
    field = DepthConcat(lambda t, y: y[:, 1:])
    ends = torch.tensor([1.0, 2.0, 3.0], dtype=DTYPE)
    y0 = torch.zeros(3, 1, dtype=DTYPE)
    shared = solve(field, y0, [0.0, 2.0], controller=TIGHT).ys[-1]
    torch.testing.assert_close(shared, torch.full_like(y0, 2.0))
    ts = torch.stack((torch.zeros_like(ends), ends))
    each = solve(field, y0, ts, controller=TIGHT, per_sample=True).ys[-1]
    torch.testing.assert_close(each[:, 0], ends**2 / 2)


def test_depth_is_a_channel():
    t, y = torch.tensor(0.3), torch.zeros(2, 2, 4, 4)
    seen = []
    DepthConcat(lambda t, y: seen.append(y) or y[:, :2])(t, y)
    assert seen[0].shape == (2, 3, 4, 4) and bool((seen[0][:, 2] == 0.3).all())


def test_arguments_go_through_all_wrappers():
    field = HigherOrder(DataControlled(DepthConcat(lambda t, y, k: -k * y[:, :1])))
    y0 = torch.tensor([[1.0, 0.0]], dtype=DTYPE)
    end = solve(field, y0, [0.0, math.pi / 4], args=torch.tensor(4.0, dtype=DTYPE), controller=TIGHT).ys[-1]
    torch.testing.assert_close(end, torch.tensor([[0.0, -2.0]], dtype=DTYPE), rtol=0, atol=1e-7)


def test_what_the_inner_field_draws_and_where_it_jumps_reaches_the_solve():
    class Drawn(VectorField):
        seed = None

        def begin(self, t0, t1, y0):
            return self.replace(seed=torch.ones(()))

        def breakpoints(self, t0, t1):
            return torch.tensor([0.5], dtype=DTYPE)

        def forward(self, t, y):
            return self.seed * torch.where(t < 0.5, 0.0, 1.0) * torch.ones_like(y[:, :1])

    y0 = torch.zeros(1, 1, dtype=DTYPE)
    for wrap in (DataControlled, DepthConcat, lambda f: HigherOrder(f, 1)):
        end = solve(wrap(Drawn()), y0, [0.0, 1.0], solver="rk4", controller=Fixed(steps=3)).ys[-1]
        torch.testing.assert_close(end, torch.full_like(y0, 0.5))


def test_the_inner_field_begins_with_the_state_as_it_sees_it():
    """A field that keeps its first state, in one that shows it the depth: it keeps both."""

    class Keeps(VectorField):
        first = None

        def begin(self, t0, t1, y0):
            return self.replace(first=y0)

        def forward(self, t, y):
            return self.first[:, :1] * self.first[:, 1:]

    y0 = torch.tensor([[2.0], [3.0]], dtype=DTYPE)
    end = solve(DepthConcat(Keeps()), y0, [0.5, 1.5], controller=TIGHT).ys[-1]
    torch.testing.assert_close(end, y0 + 0.5 * y0)


def test_a_control_that_holds_the_time_has_a_gradient_to_it():
    """dy/dt = t0 from 0 is t0 (t1 - t0)."""
    ts = torch.tensor([0.4, 1.0], dtype=DTYPE, requires_grad=True)
    field = DepthConcat(DataControlled(lambda t, y: y[:, 3:]))
    end = solve(field, torch.zeros(1, 1, dtype=DTYPE), ts, controller=TIGHT).ys[-1]
    (grad,) = torch.autograd.grad(end.sum(), ts)
    torch.testing.assert_close(grad, torch.tensor([0.2, 0.4], dtype=DTYPE))


@pytest.mark.parametrize(
    "make", [lambda f: DepthConcat(autonomous(f)), lambda f: DepthConcat(DataControlled(autonomous(f)))]
)
def test_segments_step_as_they_do_alone(make):
    torch.manual_seed(0)
    ids, y0 = torch.tensor([0, 1, 0, 1, 1]), torch.randn(5, 2, dtype=DTYPE)
    width = 3 if isinstance(make(len).field, type(autonomous(len))) else 6
    field = make(nn.Linear(width, 2).double())
    ts = torch.tensor([[0.0, 0.5], [1.0, 2.0]], dtype=DTYPE)
    both = solve(field, y0, ts, per_sample=ids, controller=TIGHT).ys[-1]
    for segment in (0, 1):
        alone = solve(field, y0[ids == segment], ts[:, segment], controller=TIGHT).ys[-1]
        torch.testing.assert_close(both[ids == segment], alone, rtol=1e-7, atol=1e-8)


def test_a_path_reaches_the_inner_field():
    class Driven(VectorField):
        path = None

        def driven_by(self, path):
            return self.replace(path=path)

        def forward(self, t, y):
            return self.path(t) * torch.ones_like(y[:, :1])

    inner = Driven()
    wrapped = DepthConcat(DataControlled(inner)).driven_by(lambda t: 3.0)
    end = solve(wrapped, torch.zeros(2, 1, dtype=DTYPE), [0.0, 1.0], controller=TIGHT).ys[-1]
    torch.testing.assert_close(end, torch.full_like(end, 3.0))
    assert inner.path is None


def test_what_they_refuse():
    with pytest.raises(OptionError, match="order=0"):
        HigherOrder(lambda t, y: y, order=0)
    with pytest.raises(ShapeError, match="3 dimensions on axis 1; wanted a multiple of the order, 2"):
        solve(HigherOrder(lambda t, y: y[:, :1]), torch.ones(2, 3), [0.0, 1.0])
    with pytest.raises(ShapeError, match=r"returned \(2, 4\).*the highest derivative alone, \(2, 2\)"):
        solve(HigherOrder(lambda t, y: y), torch.ones(2, 4), [0.0, 1.0])
    with pytest.raises(ShapeError, match="no axis 1"):
        solve(DepthConcat(lambda t, y: y), torch.ones(2), [0.0, 1.0])
    with pytest.raises(ShapeError, match="a tuple; wanted a tensor"):
        solve(DataControlled(lambda t, y: y), (torch.ones(2, 1),), [0.0, 1.0])
    with pytest.raises(ShapeError, match=r"times \(4,\) for a state \(3, 2\)"):
        DepthConcat(lambda t, y: y)(torch.zeros(4), torch.ones(3, 2))
    with pytest.raises(ShapeError, match="features on another axis than the rows"):
        solve(DepthConcat(lambda t, y: y[:-1], axis=-1), torch.ones(3), [0.0, 1.0], per_sample=True)
    with pytest.raises(OptionError, match="axis='x'"):
        solve(DepthConcat(lambda t, y: y, axis="x"), torch.ones(3, 2), [0.0, 1.0])
    with pytest.raises(IncompatibleError, match=r"a network of y alone; wanted f\(t, y\): autonomous\(field\)"):
        DepthConcat(nn.Linear(3, 2))
    with pytest.raises(IncompatibleError, match="wanted a vector field or a callable"):
        HigherOrder(3)
    with pytest.raises(IncompatibleError, match="no solve has begun it"):
        DataControlled(lambda t, y: y)(torch.tensor(0.0), torch.ones(2, 1))
    with pytest.raises(IncompatibleError, match="driven by no path"):
        DepthConcat(lambda t, y: y).driven_by(None)


def test_a_layer_of_second_order_trains():
    layer = NeuralODE(HigherOrder(net(4, 16, 2)))
    y = torch.randn(8, 4)
    layer(y).square().sum().backward()
    assert all(bool(p.grad.any()) for p in layer.parameters())
