"""Elementary functions of compiled kernels beside torch's own, in double precision."""

import math

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchdyn_core.compiled.elementary import DECOMPOSITIONS, tanh


def entries():
    small = torch.logspace(-38, 1.2, 200_001, dtype=torch.float64)
    return torch.cat([torch.linspace(-12, 12, 400_001, dtype=torch.float64), small, -small]).float()


def test_tanh_is_within_four_ten_millionths_of_its_value():
    x = entries()
    exact = x.double().tanh()
    found = tanh(x)
    error = ((found.double() - exact).abs() / exact.abs())[x != 0].max().item()
    assert error < 4e-7, error
    assert found.abs().max() == 1 and torch.equal(tanh(-x), -found)


def test_tanh_of_what_is_not_finite_and_of_zero():
    found = tanh(torch.tensor([math.inf, -math.inf, math.nan, 0.0, -0.0]))
    torch.testing.assert_close(found[:2], torch.tensor([1.0, -1.0]), rtol=4e-7, atol=0)
    assert found[2].isnan()
    assert found[3:].tolist() == [0.0, 0.0] and torch.signbit(found[3:]).tolist() == [False, True]


def test_kernels_take_it_in_single_precision_alone():
    def traced(dtype):
        graph = make_fx(torch.tanh, decomposition_table=DECOMPOSITIONS)(torch.ones(2, dtype=dtype))
        return {node.target for node in graph.graph.nodes if node.op == "call_function"}

    assert torch.ops.aten.tanh.default not in traced(torch.float32)
    assert traced(torch.float64) == {torch.ops.aten.tanh.default}
