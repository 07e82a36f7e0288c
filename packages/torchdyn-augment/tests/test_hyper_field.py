"""Weights from a hypernetwork."""

import pytest
import torch
from torch import nn

from torchdyn_augment import HyperField
from torchdyn_core import PID, IncompatibleError, ShapeError, solve
from torchdyn_core.testing import FieldSuite

DTYPE = torch.float64
TIGHT = PID(rtol=1e-9, atol=1e-9)


def made(net):
    torch.manual_seed(0)
    count = sum(p.numel() for p in net.parameters())
    return HyperField(net, nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, count)))


class TestHyperField(FieldSuite):
    def make(self):
        return made(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)))


class TestHyperFieldOnImages(FieldSuite):
    shape = (3, 2, 5, 5)

    def make(self):
        return made(nn.Conv2d(2, 2, 3, padding=1))


def test_weights_are_the_networks_own_and_what_the_hypernetwork_adds():
    net = nn.Linear(2, 2).double()
    field = HyperField(net, nn.Linear(1, 6).double())
    t, y = torch.tensor(0.7, dtype=DTYPE), torch.randn(4, 2, dtype=DTYPE)
    added = field.hypernet(t.reshape(1))
    want = y @ (net.weight + added[:4].reshape(2, 2)).T + net.bias + added[4:]
    torch.testing.assert_close(field(t, y), want)


def test_a_hypernetwork_of_zeros_leaves_the_network():
    net = nn.Linear(2, 2).double()
    field = HyperField(net, nn.Linear(1, 6).double())
    nn.init.zeros_(field.hypernet.weight)
    nn.init.zeros_(field.hypernet.bias)
    y = torch.randn(4, 2, dtype=DTYPE)
    torch.testing.assert_close(field(torch.tensor(0.5, dtype=DTYPE), y), net(y))


def test_rows_have_weights_of_their_own_times():
    field = made(nn.Linear(2, 2)).double()
    y0 = torch.randn(3, 2, dtype=DTYPE)
    ends = torch.tensor([0.5, 1.0, 2.0], dtype=DTYPE)
    each = solve(field, y0, torch.stack((0 * ends, ends)), controller=TIGHT, per_sample=True).ys[-1]
    for row, end in enumerate(ends):
        alone = solve(field, y0[row : row + 1], [0.0, end], controller=TIGHT).ys[-1]
        torch.testing.assert_close(each[row : row + 1], alone, rtol=1e-7, atol=1e-8)


def test_args_reach_the_network_where_steps_are_shared():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, y, k):
            return k * self.layer(y)

    field = made(Scaled())
    y0, k = torch.randn(3, 2), torch.tensor([[1.0], [2.0], [3.0]])
    together = solve(field, y0, [0.0, 1.0], args=k, controller=TIGHT).ys[-1]
    for row in range(3):
        alone = solve(field, y0[row : row + 1], [0.0, 1.0], args=k[row], controller=TIGHT).ys[-1]
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-4, atol=1e-5)
    with pytest.raises(IncompatibleError, match=r"HyperField got args with axes and a time for each row"):
        solve(field, y0, [0.0, 1.0], args=k, per_sample=True)
    solve(field, y0, [0.0, 1.0], args=torch.tensor(2.0), per_sample=True)


def test_what_does_not_fit_is_refused():
    with pytest.raises(IncompatibleError, match="Tanh has no parameters"):
        HyperField(nn.Tanh(), nn.Linear(1, 1))
    with pytest.raises(ShapeError, match=r"gave \(5,\); wanted \(6,\)"):
        HyperField(nn.Linear(2, 2), nn.Linear(1, 5))(torch.tensor(0.0), torch.ones(3, 2))
    with pytest.raises(IncompatibleError, match="hypernet is <function"):
        HyperField(nn.Linear(2, 2), lambda t: t)
    with pytest.raises(ShapeError, match=r"times \(4,\) for a state \[\(3, 2\)\]"):
        made(nn.Linear(2, 2))(torch.zeros(4), torch.ones(3, 2))
