"""Tensors in the place of a network's weights."""

import sys
import threading

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from torchdyn_augment import HyperField
from torchdyn_augment.weights import Weights
from torchdyn_core import IncompatibleError


class Custom(nn.Module):
    """A network with a way of its own: a parameter beside layers, one of which it calls twice."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 2, bias=False))
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("offset", torch.full((2,), 0.5))

    def forward(self, y):
        return self.inner(self.inner(y).tanh() * self.scale) + self.offset


def hooked():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    net.register_forward_hook(lambda net, given, out: 2 * out)
    return net


NETS = {
    "layers in layers": lambda: nn.Sequential(
        nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 2)), nn.LayerNorm(2)
    ),
    "a way of its own": Custom,
    "a hook": hooked,
    "a parametrization": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)), nn.Tanh()),
    "attention": lambda: nn.TransformerEncoderLayer(2, 1, 4, dropout=0.0, batch_first=True),
}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS.keys())
def test_they_are_what_the_network_computes_with(make):
    torch.manual_seed(0)
    net = make()
    weights, before = Weights(net), {name: value.clone() for name, value in net.state_dict().items()}
    moved = [torch.randn(shape, requires_grad=True) for shape in weights.shapes]
    y = torch.randn(4, 3, 2)
    got = weights.call(net, moved, y)
    want = torch.func.functional_call(net, dict(zip(weights.names, moved, strict=True)), (y,))
    assert torch.equal(got, want) and not torch.equal(want, net(y))
    for a, b in zip(*(torch.autograd.grad(out.square().sum(), moved) for out in (got, want)), strict=True):
        torch.testing.assert_close(a, b)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_convolution_pads_as_it_does():
    net = nn.Conv2d(2, 2, 3, padding="same", padding_mode="circular")
    y = torch.randn(1, 2, 5, 5)
    assert torch.equal(Weights(net).call(net, list(net.parameters()), y), net(y))


def test_threads_do_not_see_each_others_weights():
    torch.manual_seed(0)
    net = Custom()
    field = HyperField(net, nn.Linear(1, Weights(net).count))
    y, times = torch.randn(4, 2), [torch.tensor(0.0), torch.tensor(5.0)]
    want, wrong = [field(t, y) for t in times], []

    def evaluate(which):
        with torch.no_grad():
            wrong.extend(not torch.equal(field(times[which], y), want[which]) for _ in range(300))

    threads = [threading.Thread(target=evaluate, args=(which,)) for which in (0, 1)]
    interval = sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert len(wrong) == 600 and not any(wrong)
    assert all(isinstance(parameter, nn.Parameter) for parameter in net.parameters())


def test_networks_whose_weights_cannot_be_replaced_are_refused():
    inner = nn.Linear(2, 2)

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.order = [self.layer]

    for net, words in (
        (nn.Tanh(), "Tanh has no parameters"),
        (nn.Sequential(inner, nn.Tanh(), inner), "tied parameters"),
        (nn.LazyLinear(2), "not made yet"),
        (nn.Sequential(Listed()), r"keeps weights in 0\.order"),
        (nn.GRUCell(2, 2), None),
        (nn.GRU(2, 2), "keeps weights in _flat_weights"),
        (nn.Linear, "net is the class Linear: call it"),
        (torch.sin, "net is <built-in"),
    ):
        if words is None:
            assert Weights(net).count == sum(p.numel() for p in net.parameters())
            continue
        with pytest.raises(IncompatibleError, match=words):
            Weights(net)
