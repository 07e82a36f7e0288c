"""Compiled solves of complex states: values, gradients and counts are those of the eager loop."""

import shutil
import warnings

import pytest
import torch
from torch import nn

from torchdyn_core import PID, Checkpointed, Fixed, IncompatibleError, solve
from torchdyn_core.compiled import pairs, reason
from torchdyn_core.compiled.driver import entries
from torchdyn_core.errors import FallbackWarning
from torchdyn_core.tree import leaves, tree_map

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)


def numbers(*shape, dtype=torch.complex128, seed=0):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


MATRIX = numbers(2, 2, seed=1)
HERMITIAN = (MATRIX + MATRIX.mH).requires_grad_()


def schroedinger(t, y, matrix):
    return -1j * (y @ matrix)


def damped(t, y, args):
    return 1j * (y @ HERMITIAN) - 0.1 * y * args[0]


def cubic(t, y, args):
    """A nonlinear oscillator that is not holomorphic, driven."""
    force = torch.exp(1j * t) * args["force"].conj()
    return (1j - y.abs() ** 2) * y * args["rate"] + 0.1 * y.conj() * y.real + force * (5 + y).angle()


class Mixed(nn.Module):
    """A real network that turns complex leaves, and a complex parameter."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.net = nn.Linear(2, 2).double()
        self.turn = nn.Parameter(numbers(2, seed=3))

    def forward(self, t, y):
        wave, level = y
        slope = torch.view_as_real(wave).sum(-1) * level
        return self.turn * wave * torch.tanh(self.net(level)), slope - level


MIXED, RATE = Mixed(), torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
# its conjugate is one that torch has not computed yet
CONJUGATE = MATRIX.mH
FORCE = numbers(1, seed=4).requires_grad_()
TREE = numbers(3, 2, seed=5), numbers(3, 2, dtype=torch.float64, seed=6)
Y = numbers(3, 2, seed=7)
ARGS = {"rate": RATE, "force": FORCE}
TARGETS = [HERMITIAN, *MIXED.parameters(), RATE, FORCE]


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


EULER = {"solver": "euler", "controller": Fixed(steps=20)}
ADAPTIVE = {"solver": "heun", "controller": PID(rtol=1e-4, atol=1e-4)}
EXACT, CLOSE = 1e-12, 1e-3
CASES = {
    "linear, adaptive, reports": (
        damped, Y, torch.linspace(0, 1, 41, dtype=torch.float64), CLOSE, {**ADAPTIVE, "args": CONJUGATE},
    ),  # so many that every chunk of steps has some
    "single precision, bounded memory": (
        lambda t, y: -1j * (y @ HERMITIAN.to(y.dtype)), Y.to(torch.complex64), times(0, 1), 1e-5,
        {**EULER, "adjoint": Checkpointed(memory=8)},
    ),
    "nonlinear, per sample, real reports": (
        cubic, Y, times(0, 1), CLOSE, {**ADAPTIVE, "args": ARGS, "per_sample": True, "save": lambda t, y: y.abs()},
    ),
    "a tree, a module, backwards": (MIXED, TREE, times(1, 0), EXACT, EULER),
    "backsolve": (schroedinger, Y, times(0, 1), EXACT, {**EULER, "args": HERMITIAN, "adjoint": "backsolve"}),
}  # fmt: skip


def outcome(field, y0, ts, compile, **options):
    y0 = tree_map(lambda leaf: leaf.clone().requires_grad_(), y0)
    solution = solve(field, y0, ts, compile=compile, **options)
    parts = [torch.view_as_real(leaf) if leaf.is_complex() else leaf for leaf in leaves(solution.ys)]
    loss = torch.stack([(part * torch.linspace(-1, 2, part.shape[-1]) + part**2).sum() for part in parts]).sum()
    grads = torch.autograd.grad(loss, [*leaves(y0), *TARGETS], allow_unused=True)
    return solution, [loss, *grads]


@pytest.mark.parametrize("case", CASES)
def test_values_gradients_and_counts_are_those_of_the_eager_loop(case):
    field, y0, ts, tolerance, options = CASES[case]
    before = entries()
    got, found = outcome(field, y0, ts, "require", **options)
    assert entries() > before + 1
    want, expected = outcome(field, y0, ts, False, **options)
    torch.testing.assert_close(got.ys, want.ys, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    assert got.stats.steps == pytest.approx(want.stats.steps, rel=0.01)


def falls_back(field, why):
    """It is said once and by name, and the eager loop's values come; compile="require" raises."""
    expected = solve(field, Y, times(0, 1), **EULER).ys
    with pytest.warns(FallbackWarning, match=f"runs eagerly: complex numbers: {why}"):
        assert torch.equal(solve(field, Y, times(0, 1), compile=True, **EULER).ys, expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(field, Y, times(0, 1), compile=True, **EULER)
    with pytest.raises(IncompatibleError, match=why):
        solve(field, Y, times(0, 1), compile="require", **EULER)


def without_a_rule(t, y):
    return torch.asinh(y)


def into_a_part(t, y):
    out = y.clone()
    out.real.mul_(-1)
    return out


def into_an_output(t, y):
    out = torch.empty_like(y)
    with torch.no_grad():  # autograd does not take it
        torch.mul(y, -1, out=out)
    return out


def test_an_output_that_is_written_to_by_name_runs_eagerly():
    falls_back(into_an_output, "the field writes by an operator without a rule")


def test_an_operator_without_a_rule_runs_eagerly():
    falls_back(without_a_rule, "compiled solves have no rule for the operator aten.asinh.default")


def test_a_part_that_is_written_to_runs_eagerly():
    falls_back(into_a_part, "the field writes to a part of a tensor")


def test_a_wrong_rule_is_seen_and_harms_no_other_solve(monkeypatch):
    monkeypatch.setitem(pairs.RULES, torch.ops.aten.sinh, lambda dtype, z: z)
    falls_back(lambda t, y: 1j * torch.sinh(y), ".* results")
    assert reason.distrusted() is None


@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex operators")
def test_fourier_transforms_are_called():
    symbol = -1j * torch.linspace(0, 1, 2, dtype=torch.float64)

    def wave(t, y):
        return torch.fft.ifft(symbol * torch.fft.fft(y))

    y0 = Y.clone().requires_grad_()
    options = {"ts": times(0, 1), **EULER}
    got, want = solve(wave, y0, compile="require", **options).ys, solve(wave, y0, **options).ys
    torch.testing.assert_close(got, want, rtol=EXACT, atol=EXACT)
    found, expected = (torch.autograd.grad(ys[-1].abs().sum(), y0)[0] for ys in (got, want))
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)
