"""Bases are what their names say."""

import math

import pytest
import torch
from numpy.polynomial.legendre import leggauss

from torchdyn_augment import Chebyshev, Fourier, GaussianRBF, Legendre, PiecewiseConstant, Polynomial
from torchdyn_core import OptionError

DTYPE = torch.float64
GRID = torch.linspace(0.0, 1.0, 4001, dtype=DTYPE)
MIDDLES = (GRID[1:] + GRID[:-1]) / 2
MADE = [Fourier(4), Polynomial(4), Chebyshev(4), Legendre(4), GaussianRBF(4), PiecewiseConstant(4)]


def gram(values, weight=None):
    """Inner products over [0, 1], by the midpoint rule."""
    weight = torch.ones_like(MIDDLES) if weight is None else weight
    return torch.einsum("nk,nl,n->kl", values, values, weight) / len(MIDDLES)


def off_diagonal(matrix):
    return matrix - torch.diag(matrix.diagonal())


@pytest.mark.parametrize("basis", MADE, ids=lambda basis: type(basis).__name__)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_functions_lie_on_a_new_last_axis(basis, shape):
    values = basis(torch.rand(shape, dtype=DTYPE))
    assert values.shape == (*shape, basis.size) and values.dtype == DTYPE


def test_fourier_has_whole_harmonics_and_is_orthogonal():
    values = Fourier(4)(MIDDLES)
    assert values.shape[1] == 9
    for k in range(1, 5):
        torch.testing.assert_close(values[:, k], (2 * math.pi * k * MIDDLES).cos())
        torch.testing.assert_close(values[:, 4 + k], (2 * math.pi * k * MIDDLES).sin())
    matrix = gram(values)
    assert float(off_diagonal(matrix).abs().max()) < 1e-12
    torch.testing.assert_close(matrix.diagonal(), torch.tensor([1.0] + [0.5] * 8, dtype=DTYPE))


def test_fourier_has_period_one():
    t = torch.rand(5, dtype=DTYPE)
    torch.testing.assert_close(Fourier(3)(t), Fourier(3)(t + 1))


def test_polynomial_has_whole_powers():
    values = Polynomial(4)(MIDDLES)
    assert values.shape[1] == 5
    for k in range(5):
        torch.testing.assert_close(values[:, k], MIDDLES**k)


def test_polynomials_have_a_gradient_at_zero():
    t = torch.zeros((), dtype=DTYPE, requires_grad=True)
    (grad,) = torch.autograd.grad(Polynomial(3)(t).sum(), t)
    assert float(grad) == 1.0


def test_chebyshev_is_a_cosine_of_angles_and_orthogonal_with_its_weight():
    angle = (torch.arange(2000, dtype=DTYPE) + 0.5) * math.pi / 2000
    values = Chebyshev(5)((angle.cos() + 1) / 2)
    for k in range(6):
        torch.testing.assert_close(values[:, k], (k * angle).cos())
    matrix = values.T @ values / 2000  # Gauss-Chebyshev quadrature
    assert float(off_diagonal(matrix).abs().max()) < 1e-12


def test_legendre_is_orthogonal_with_squares_of_one_over_two_k_plus_one():
    nodes, weights = (torch.from_numpy(part) for part in leggauss(12))
    values = Legendre(5)((nodes + 1) / 2)
    matrix = torch.einsum("nk,nl,n->kl", values, values, weights / 2)
    assert float(off_diagonal(matrix).abs().max()) < 1e-12
    torch.testing.assert_close(matrix.diagonal(), 1 / (2 * torch.arange(6, dtype=DTYPE) + 1))


def test_bumps_are_one_at_their_centres_and_fall_by_their_width():
    basis = GaussianRBF(5, width=0.5).double()
    values = basis(torch.linspace(0.0, 1.0, 5, dtype=DTYPE))
    torch.testing.assert_close(values.diagonal(), torch.ones(5, dtype=DTYPE))
    torch.testing.assert_close(values[0, 1], torch.tensor(math.exp(-2.0), dtype=DTYPE))


def test_one_bump_stands_in_the_middle():
    assert float(GaussianRBF(1)(torch.tensor(0.5))) == 1.0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pieces_are_indicators_that_change_at_the_knots_alone(dtype):
    basis = PiecewiseConstant(3, t0=-1.0, t1=2.0)
    assert torch.equal(basis(torch.tensor([-5.0, -0.5, 0.5, 1.5, 9.0])).argmax(-1), torch.tensor([0, 0, 1, 2, 2]))
    basis = PiecewiseConstant(7)
    for number, knot in enumerate(basis.knots().to(dtype)):
        after, before = torch.nextafter(knot, torch.inf * torch.ones_like(knot)), torch.nextafter(knot, -knot)
        assert [int(basis(t).argmax()) for t in (before, knot, after)] == [number, number + 1, number + 1]
    assert bool((PiecewiseConstant(7)(GRID).sum(-1) == 1).all())


def test_one_piece_has_no_knots():
    assert PiecewiseConstant(1).knots() is None and Fourier(2).knots() is None


@pytest.mark.parametrize("kind", [Fourier, Polynomial, Chebyshev, Legendre, GaussianRBF])
def test_dilation_and_shift_are_learned_where_that_is_asked(kind):
    assert not list(kind(3, dilation=2.0, shift=0.25).parameters())
    t = torch.rand(7, dtype=DTYPE)
    torch.testing.assert_close(kind(3, dilation=2.0, shift=0.25)(t), kind(3)(2 * t + 0.25))
    basis = kind(3, adaptive=True).double()

    def value(dilation, shift):
        return torch.func.functional_call(basis, {"dilation": dilation, "shift": shift}, (t,))

    torch.autograd.gradcheck(value, (basis.dilation, basis.shift))
    assert len(list(basis.parameters())) == 2


@pytest.mark.parametrize("kind", [Fourier, Polynomial, Chebyshev, Legendre, GaussianRBF])
def test_in_double_precision_nothing_is_rounded_to_single(kind):
    t = torch.rand(7, dtype=DTYPE)
    torch.testing.assert_close(kind(4, dilation=0.1, shift=0.3)(t), kind(4)(0.1 * t + 0.3), rtol=1e-14, atol=1e-14)
    centres = torch.linspace(0.0, 1.0, 4, dtype=DTYPE)
    torch.testing.assert_close(GaussianRBF(4)(centres).diagonal(), torch.ones(4, dtype=DTYPE), rtol=0, atol=1e-15)


def test_whole_times_are_times():
    assert Fourier(1, dilation=0.5)(torch.tensor(1)).round(decimals=4).abs().tolist() == [1.0, 1.0, 0.0]
    assert float(Polynomial(1, dilation=0.5)(torch.tensor(3))[1]) == 1.5


@pytest.mark.parametrize("kind", [Fourier, Polynomial, Chebyshev, Legendre, GaussianRBF, PiecewiseConstant])
@pytest.mark.parametrize("degree", [0, -1, 2.5, True])
def test_degrees_below_one_are_refused(kind, degree):
    with pytest.raises(OptionError, match="wanted a whole number >= 1"):
        kind(degree)


def test_options_that_make_no_sense_are_refused():
    for make in (
        lambda: Fourier(2, dilation=0.0), lambda: Fourier(2, shift=math.nan), lambda: GaussianRBF(2, width=0.0),
        lambda: PiecewiseConstant(2, t0=1.0, t1=1.0), lambda: Fourier(2, dilation="2"),
        lambda: GaussianRBF(2, width="2"), lambda: PiecewiseConstant(2, t0=None),
    ):  # fmt: skip
        with pytest.raises(OptionError, match="wanted"):
            make()
