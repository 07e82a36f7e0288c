"""Everything compiles: one field of each kind, values and gradients as without."""

import shutil

import pytest
import torch
from torch import nn

from torchdyn_augment import (
    ANODEv2,
    DataControlled,
    DepthConcat,
    DepthSequential,
    Fourier,
    GalerkinConv2d,
    GalerkinLinear,
    HigherOrder,
    HyperField,
    InputLayerAugmentation,
    LearnedDynamics,
    Legendre,
    PiecewiseConstant,
    ReactionDiffusionAdvection,
    ZeroAugmentation,
)
from torchdyn_core import Fixed, NeuralODE, autonomous
from torchdyn_core.compiled.driver import entries

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)

DTYPE = torch.float64


def net(*sizes):
    return nn.Sequential(nn.Linear(sizes[0], sizes[1]), nn.Tanh(), nn.Linear(sizes[1], sizes[2]))


def wrapped():
    field = HigherOrder(DataControlled(DepthConcat(autonomous(net(9, 4, 2)))))
    return field, InputLayerAugmentation(nn.Linear(2, 2), 2), False, (3, 2)


def galerkin():
    field = DepthSequential(GalerkinLinear(3, 4, Fourier(1)), nn.Tanh(), GalerkinLinear(4, 3, Legendre(2)))
    return field, ZeroAugmentation(1), True, (3, 2)


def stacked():
    return DepthSequential(GalerkinLinear(2, 2, PiecewiseConstant(2))), None, False, (3, 2)


def images():
    return DepthSequential(GalerkinConv2d(2, 2, 3, Fourier(1), padding=1)), ZeroAugmentation(1), False, (2, 1, 4, 4)


def hyper():
    inner = net(2, 3, 2)
    return HyperField(inner, nn.Linear(1, sum(p.numel() for p in inner.parameters()))), None, True, (3, 2)


class Custom(nn.Module):
    """A network with a way of its own."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 2, bias=False))
        self.scale = nn.Parameter(torch.full((2,), 0.5))

    def forward(self, y):
        return torch.tanh(self.inner(y)) * self.scale


def custom():
    inner = Custom()
    field = ANODEv2(inner, LearnedDynamics(inner, 2))
    return field, field.augmentation, False, (3, 2)


def together():
    inner = nn.Linear(2, 2)
    field = ANODEv2(inner, ReactionDiffusionAdvection(inner))
    return field, field.augmentation, False, (3, 2)


def apart():
    inner = nn.Linear(2, 2)
    return ANODEv2(inner, LearnedDynamics(inner, 2), grid=3), None, False, (3, 2)


@pytest.mark.parametrize("make", [wrapped, galerkin, stacked, images, hyper, custom, together, apart])
def test_it_compiles(make):
    torch.manual_seed(0)
    field, augmentation, per_sample, shape = make()
    options = {"solver": "heun", "controller": Fixed(steps=4), "per_sample": per_sample}
    y = torch.randn(shape, dtype=DTYPE)

    def outcome(compile):
        layer = NeuralODE(field, augmentation=augmentation, compile=compile, **options).double()
        y0 = y.clone().requires_grad_()
        out = layer(y0)
        return [out, *torch.autograd.grad(out.square().sum(), [y0, *layer.parameters()])]

    before = entries()
    compiled = outcome("require")
    assert entries() > before
    for a, b in zip(compiled, outcome(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
