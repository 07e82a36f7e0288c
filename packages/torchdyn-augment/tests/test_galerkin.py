"""Layers whose weights vary with depth."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from torchdyn_augment import (
    Chebyshev,
    DepthSequential,
    DepthVariant,
    Fourier,
    GalerkinConv1d,
    GalerkinConv2d,
    GalerkinLinear,
    GaussianRBF,
    Legendre,
    PiecewiseConstant,
    Polynomial,
)
from torchdyn_core import PID, Fixed, IncompatibleError, NeuralODE, OptionError, ShapeError, solve
from torchdyn_core.testing import FieldSuite

DTYPE = torch.float64
TIGHT = PID(rtol=1e-9, atol=1e-9)
BASES = [Fourier, Polynomial, Chebyshev, Legendre, GaussianRBF, PiecewiseConstant]


class TestLinear(FieldSuite):
    def make(self):
        torch.manual_seed(0)
        return DepthSequential(GalerkinLinear(2, 8, Fourier(2)), nn.Tanh(), GalerkinLinear(8, 2, GaussianRBF(3)))


class TestAdaptive(FieldSuite):
    def make(self):
        torch.manual_seed(0)
        return DepthSequential(GalerkinLinear(2, 8, Fourier(2, adaptive=True)), nn.Tanh(), nn.Linear(8, 2))


class TestStacked(FieldSuite):
    def make(self):
        torch.manual_seed(0)
        return DepthSequential(GalerkinLinear(2, 8, PiecewiseConstant(3)), nn.Tanh(), nn.Linear(8, 2))


class TestConv1d(FieldSuite):
    shape = (3, 2, 6)

    def make(self):
        torch.manual_seed(0)
        return DepthSequential(GalerkinConv1d(2, 4, 3, padding=1), nn.Tanh(), GalerkinConv1d(4, 2, 1, Legendre(2)))


class TestConv2d(FieldSuite):
    shape = (3, 2, 5, 5)

    def make(self):
        torch.manual_seed(0)
        return DepthSequential(GalerkinConv2d(2, 4, 3, padding="same"), nn.Tanh(), GalerkinConv2d(4, 2, 1))


@pytest.mark.parametrize("kind", BASES)
def test_weights_are_the_bases_combination(kind):
    layer = GalerkinLinear(3, 2, kind(3)).double()
    t, x = torch.tensor(0.3, dtype=DTYPE), torch.randn(4, 3, dtype=DTYPE)
    values = layer.basis(t)
    weight = sum(value * part for value, part in zip(values, layer.weight, strict=True))
    bias = sum(value * part for value, part in zip(values, layer.bias, strict=True))
    torch.testing.assert_close(layer(t, x), x @ weight.T + bias)


def test_convolutions_are_torchs_with_the_combined_weights():
    layer = GalerkinConv2d(2, 3, (3, 1), Fourier(2), stride=2, padding=(1, 0), dilation=1).double()
    t, x = torch.tensor(0.3, dtype=DTYPE), torch.randn(4, 2, 6, 6, dtype=DTYPE)
    weight = torch.einsum("k,koiab->oiab", layer.basis(t), layer.weight)
    want = functional.conv2d(x, weight, layer.basis(t) @ layer.bias, stride=2, padding=(1, 0))
    torch.testing.assert_close(layer(t, x), want)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (GalerkinLinear(3, 2), (4, 3)), (GalerkinLinear(3, 2, bias=False), (4, 3)), (GalerkinLinear(3, 2), (4, 5, 3)),
        (GalerkinConv1d(3, 2, 3), (4, 3, 7)), (GalerkinConv2d(3, 2, 3, bias=False), (4, 3, 5, 5)),
    ],
)  # fmt: skip
def test_rows_have_weights_of_their_own_times(layer, shape):
    layer, x = layer.double(), torch.randn(shape, dtype=DTYPE)
    t = torch.rand(4, *(1,) * (len(shape) - 1), dtype=DTYPE)
    want = torch.cat([layer(t[row].reshape(()), x[row : row + 1]) for row in range(4)])
    torch.testing.assert_close(layer(t, x), want)


@pytest.mark.parametrize("kind", BASES)
def test_weights_start_as_large_as_those_of_torchs_layer(kind):
    torch.manual_seed(0)
    layer = GalerkinLinear(64, 256, kind(4))
    t = torch.linspace(0.0, 1.0, 101)
    weights = torch.einsum("tk,koi->toi", layer.basis(t), layer.weight.detach())
    size = float(weights.square().mean().sqrt() / nn.Linear(64, 256).weight.detach().square().mean().sqrt())
    assert 0.9 < size < 1.1


def test_a_stack_is_a_solve_with_each_layer_in_its_piece():
    torch.manual_seed(0)
    layer = GalerkinLinear(2, 2, PiecewiseConstant(3)).double()
    y0 = torch.randn(4, 2, dtype=DTYPE)
    solution = solve(DepthSequential(layer), y0, [0.0, 1.0], controller=TIGHT)
    y = y0
    for piece in range(3):
        weight, bias = layer.weight[piece].detach(), layer.bias[piece].detach()
        span = torch.tensor([piece / 3, (piece + 1) / 3], dtype=DTYPE)
        y = solve(lambda t, y, w=weight, b=bias: functional.linear(y, w, b), y, span, controller=TIGHT).ys[-1]
    torch.testing.assert_close(solution.ys[-1], y, rtol=1e-8, atol=1e-8)
    assert solution.stats.rejected <= 1  # steps end at the knots: nothing jumps inside of one


def test_knots_of_all_layers_are_breakpoints():
    field = DepthSequential(
        GalerkinLinear(2, 2, PiecewiseConstant(2)), nn.Tanh(), GalerkinLinear(2, 2, PiecewiseConstant(4))
    )
    assert field.breakpoints(None, None).tolist() == [0.25, 0.5, 0.75]
    assert DepthSequential(GalerkinLinear(2, 2)).breakpoints(None, None) is None


def test_layers_of_ones_own_are_told_the_depth():
    class Fade(DepthVariant):
        def forward(self, t, x):
            return -t * x

    y0 = torch.ones(2, 1, dtype=DTYPE)
    end = solve(DepthSequential(Fade()), y0, [0.0, 1.0], controller=TIGHT).ys[-1]
    torch.testing.assert_close(end, y0 * torch.exp(torch.tensor(-0.5, dtype=DTYPE)))


def test_gradients_are_those_of_finite_differences():
    torch.manual_seed(0)
    field = DepthSequential(GalerkinLinear(2, 3, Fourier(1, adaptive=True)), nn.Tanh(), GalerkinLinear(3, 2)).double()
    layer = NeuralODE(field, solver="rk4", controller=Fixed(steps=2), adjoint="direct")
    y0 = torch.randn(2, 2, dtype=DTYPE)

    def value(*parameters):
        names = dict(zip(dict(layer.named_parameters()), parameters, strict=True))
        return torch.func.functional_call(layer, names, (y0,))

    torch.autograd.gradcheck(value, tuple(p.detach().clone().requires_grad_() for p in layer.parameters()))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GalerkinLinear(0, 2), "in_features=0"),
        (lambda: GalerkinConv2d(2, -1, 3), "out_channels=-1"),
        (lambda: GalerkinConv2d(2, 2, (3, 3, 3)), r"kernel_size=\(3, 3, 3\)"),
        (lambda: GalerkinConv1d(2, 2, 0), "kernel_size=0"),
        (lambda: GalerkinLinear(2, 2, Fourier), "the class Fourier: call it"),
        (lambda: GalerkinLinear(2, 2, 5), "basis is 5"),
        (lambda: DepthSequential(), "no layers"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, words):
    with pytest.raises(OptionError, match=words):
        make()


def test_a_convolution_on_vectors_is_refused():
    for layer in (GalerkinConv2d(2, 2, 3, padding=1), GalerkinConv1d(2, 2, 3, padding=1)):
        with pytest.raises(ShapeError, match=r"got shape \(4, 2\); wanted \(N, C, "):
            solve(DepthSequential(layer), torch.ones(4, 2), [0.0, 1.0])


def test_times_of_other_rows_are_refused():
    with pytest.raises(ShapeError, match="a time, or one for each row"):
        GalerkinLinear(2, 2)(torch.zeros(3, 1), torch.ones(4, 2))


def test_a_layer_is_a_field_that_jumps_where_its_basis_does():
    torch.manual_seed(0)
    layer = GalerkinLinear(2, 2, PiecewiseConstant(3)).double()
    y0 = torch.randn(4, 2, dtype=DTYPE)
    alone = solve(layer, y0, [0.0, 1.0], controller=TIGHT)
    nested = solve(DepthSequential(DepthSequential(layer), nn.Identity()), y0, [0.0, 1.0], controller=TIGHT)
    assert alone.stats.rejected <= 1 and nested.stats.rejected <= 1
    assert torch.equal(alone.ys, nested.ys)


def test_containers_that_would_not_tell_their_layers_the_depth_are_refused():
    layer = GalerkinLinear(2, 2)
    with pytest.raises(IncompatibleError, match=r"layer 1 is a Sequential that holds.*wanted a DepthSequential"):
        DepthSequential(nn.Tanh(), nn.Sequential(layer, nn.Tanh()))
    with pytest.raises(IncompatibleError, match="layer 0 is the class Tanh: call it"):
        DepthSequential(nn.Tanh)
    with pytest.raises(IncompatibleError, match="takes no args"):
        solve(DepthSequential(layer), torch.ones(3, 2), [0.0, 1.0], args=torch.ones(()))


def test_options_of_a_convolution_are_those_of_torchs():
    torch.manual_seed(0)
    t, x = torch.tensor(0.3), torch.randn(2, 2, 9, 9)
    layer = GalerkinConv2d(2, 3, 3, stride=2, padding=(1, 2), dilation=2)
    values = layer.basis(t)
    weight, bias = torch.tensordot(values, layer.weight, 1), values @ layer.bias
    want = functional.conv2d(x, weight, bias, stride=2, padding=(1, 2), dilation=2)
    torch.testing.assert_close(layer(t, x), want)
    torch.testing.assert_close(layer(t.expand(2, 1, 1, 1), x), want, rtol=1e-4, atol=1e-5)


def test_layers_are_made_on_meta_and_of_complex_numbers():
    with torch.device("meta"):
        assert GalerkinLinear(2, 3).weight.is_meta
    layer = GalerkinLinear(2, 3)
    for name, parameter in list(layer.named_parameters(recurse=False)):
        setattr(layer, name, nn.Parameter(parameter.detach() * (1 + 2j)))
    x = torch.randn(4, 2, dtype=torch.complex64)
    shared = layer(torch.tensor(0.3), x)
    torch.testing.assert_close(layer(torch.full((4, 1), 0.3), x), shared)
    assert shared.dtype == torch.complex64


def test_bases_that_are_not_seen_and_kernels_that_are_none_are_refused():
    with pytest.raises(OptionError, match=r"a mean square of 0 on \[0, 1\]"):
        GalerkinLinear(2, 3, GaussianRBF(3, shift=100.0))
    for size in (3.0, True, (3,), (3, 0)):
        with pytest.raises(OptionError, match="kernel_size="):
            GalerkinConv2d(2, 2, size)
    with pytest.raises(ShapeError, match=r"wanted \(N, C, L\)"):
        GalerkinConv1d(2, 2, 3)(torch.tensor(0.0), torch.ones(2, 2, 3, 3))
