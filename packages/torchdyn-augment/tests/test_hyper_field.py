"""Weights from a hypernetwork."""

import pytest
import torch
from torch import nn

from torchdyn_augment import HyperField
from torchdyn_augment.weights import Weights
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


def test_a_chain_takes_its_weights_as_torch_hands_them_over():
    """Layers in layers, without a bias, with hooks."""
    nets = [
        nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 2)), nn.LayerNorm(2)),
        nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh()),
        nn.Sequential(nn.Linear(2, 2), nn.Tanh()),
    ]
    nets[2].register_forward_hook(lambda net, given, out: 2 * out)
    for net in nets:
        weights = Weights(net)
        moved = [torch.randn(shape) for shape in weights.shapes]
        y = torch.randn(4, 2)
        want = torch.func.functional_call(net, dict(zip(weights.names, moved, strict=True)), (y,))
        assert torch.equal(weights.call(net, moved, y), want) and not torch.equal(want, net(y))
    inner = nn.Linear(2, 2)
    with pytest.raises(IncompatibleError, match="tied parameters"):
        Weights(nn.Sequential(inner, nn.Tanh(), inner))
    convolution = nn.Conv2d(2, 2, 3, padding="same", padding_mode="circular")
    weights, y = Weights(convolution), torch.randn(1, 2, 5, 5)
    assert torch.equal(weights.call(convolution, list(convolution.parameters()), y), convolution(y))


def test_what_does_not_fit_is_refused():
    with pytest.raises(IncompatibleError, match="Tanh has no parameters"):
        HyperField(nn.Tanh(), nn.Linear(1, 1))
    with pytest.raises(ShapeError, match=r"gave \(5,\); wanted \(6,\)"):
        HyperField(nn.Linear(2, 2), nn.Linear(1, 5))(torch.tensor(0.0), torch.ones(3, 2))
