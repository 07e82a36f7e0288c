"""Elementary functions of compiled kernels beside torch's own, in double precision."""

import math

import mpmath
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchdyn_core.compiled.elementary import DECOMPOSITIONS, tanh


def entries():
    small = torch.logspace(-38, 1.2, 200_001, dtype=torch.float64)
    return torch.cat([torch.linspace(-12, 12, 400_001, dtype=torch.float64), small, -small]).float()


def doubles():
    torch.manual_seed(0)
    near, far = torch.rand(4000, dtype=torch.float64), 20 * torch.rand(4000, dtype=torch.float64)
    return torch.cat(
        [near, far, torch.logspace(-300, 0, 500, dtype=torch.float64), torch.tensor([0.625, 300.0, 1e300])]
    )


def test_tanh_is_within_four_ten_millionths_of_its_value():
    x = entries()
    exact = x.double().tanh()
    found = tanh(x)
    error = ((found.double() - exact).abs() / exact.abs())[x != 0].max().item()
    assert error < 4e-7, error
    assert found.abs().max() == 1 and torch.equal(tanh(-x), -found)


def test_tanh_in_double_precision_is_within_two_roundings():
    values = doubles()
    exact, found = [mpmath.tanh(mpmath.mpf(value)) for value in values.tolist()], tanh(values)
    error = max(abs(mpmath.mpf(a) / b - 1) for a, b in zip(found.tolist(), exact, strict=True))
    assert error < 4e-16, error
    assert found.abs().max() == 1 and torch.equal(tanh(-values), -found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_of_what_is_not_finite_and_of_zero(dtype):
    found = tanh(torch.tensor([math.inf, -math.inf, math.nan, 0.0, -0.0], dtype=dtype))
    torch.testing.assert_close(found[:2], torch.tensor([1.0, -1.0], dtype=dtype), rtol=4e-7, atol=0)
    assert found[2].isnan()
    assert found[3:].tolist() == [0.0, 0.0] and torch.signbit(found[3:]).tolist() == [False, True]


def test_kernels_take_it_where_it_is_faster():
    def traced(dtype):
        graph = make_fx(torch.tanh, decomposition_table=DECOMPOSITIONS)(torch.ones(2, dtype=dtype))
        return {node.target for node in graph.graph.nodes if node.op == "call_function"}

    for dtype in (torch.float32, torch.float64):
        assert torch.ops.aten.tanh.default not in traced(dtype)
    for dtype in (torch.bfloat16, torch.complex128):
        assert traced(dtype) == {torch.ops.aten.tanh.default}
