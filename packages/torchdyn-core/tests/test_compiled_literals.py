"""Fields that make tensors of numbers while they are evaluated: compiled, and never yesterday's numbers."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from torchdyn_core import PID, Euler, Fixed, solve
from torchdyn_core.compiled.driver import entries
from torchdyn_core.compiled.kernel import traced
from torchdyn_core.errors import IncompatibleError
from torchdyn_core.testing.compiled import skip_unless_tried

compiles = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)

DTYPE = torch.float64
torch.manual_seed(0)
NET = nn.Linear(2, 2).double()
Y = torch.randn(5, 2, dtype=DTYPE)
ARRAY = np.array([0.3, 0.4])
HELD = {"rate": 1.0}


def numbers(t, y):
    """A vector, a lone number, a matrix, flags; single and double."""
    y = NET(y) @ torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=DTYPE) * torch.tensor(0.5)
    return torch.where(torch.tensor([True, False]), y, -y) * torch.tensor([1.0, 2.0])


def places(t, y):
    """Integers that index: a tensor, a list."""
    return NET(y)[:, torch.tensor([1, 0])] - y[:, [1, 0]] * NET.weight[[0, 0], torch.tensor([0, 1])]


def made(t, y):
    """Tensors that operators make, and one that shares an array's memory."""
    return (NET(y) @ torch.eye(2, dtype=DTYPE) * (1 + torch.arange(2))).tanh() * torch.from_numpy(ARRAY)


def inside(t, y):
    """A literal that the field writes to, and one below a gradient of its own."""
    scale = torch.tensor([1.0, 2.0], dtype=DTYPE)
    scale.mul_(2.0)
    return scale * torch.func.grad(lambda z: (NET(z).tanh() * torch.tensor([0.5, 1.0], dtype=DTYPE)).sum())(y)


CASES = {
    "numbers": (numbers, {}),
    "numbers, per sample, jumps": (numbers, {"per_sample": True, "controller": PID(jump_ts=[0.4])}),
    "places": (places, {"solver": "rk4", "controller": Fixed(steps=4)}),
    "made": (made, {"integral_loss": lambda t, y: (y * y * torch.tensor([1.0, 0.5], dtype=DTYPE)).sum()}),
    "inside": (inside, {"solver": "heun"}),
}


@compiles
@pytest.mark.parametrize("case", CASES)
def test_literals_compile_with_the_values_and_gradients_of_the_eager_loop(case):
    skip_unless_tried(usual=case in ("numbers", "places", "made"))
    field, options = CASES[case]

    def outcome(compile):
        y0 = Y.clone().requires_grad_()
        solution = solve(field, y0, [0.0, 0.3, 1.0], compile=compile, **options)
        loss = solution.ys.square().sum()
        loss = loss if solution.integral is None else loss + solution.integral
        return [solution.ys, *torch.autograd.grad(loss, [y0, *NET.parameters()])]

    before = entries()
    got = outcome("require")
    assert entries() > before
    for a, b in zip(got, outcome(False), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


@compiles
def test_a_literal_that_changes_takes_effect():
    """Numbers in a literal are guarded, an array is an input."""

    def field(t, y):
        return -y * torch.tensor([HELD["rate"], 2.0], dtype=DTYPE) * torch.from_numpy(ARRAY)

    seen = []
    for HELD["rate"], ARRAY[0] in ((1.0, 0.3), (3.0, 0.3), (3.0, 0.9), (1.0, 0.3)):
        options = {"solver": Euler(), "controller": Fixed(steps=3)}
        seen.append(solve(field, Y, [0.0, 1.0], compile="require", **options).ys)
        torch.testing.assert_close(seen[-1], solve(field, Y, [0.0, 1.0], **options).ys, rtol=1e-12, atol=1e-13)
    assert torch.equal(seen[0], seen[3]) and not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


def test_equal_literals_are_one_input_and_nothing_else_becomes_one():
    def twice(x):
        return x * torch.tensor([1.0, 2.0]) + torch.tensor([1.0, 2.0]).add_(1.0) + torch.tensor([1, 2])

    graph, literals = traced(twice, [torch.ones(2)])
    assert [literal.tolist() for literal in literals] == [[1.0, 2.0], [1, 2]]
    assert graph(torch.ones(2), *literals)[0] == twice(torch.ones(2))[0]
    held = torch.ones(2)
    with pytest.raises(IncompatibleError, match="reads a tensor of shape"):
        traced(lambda x: x * held, [torch.ones(2)])
