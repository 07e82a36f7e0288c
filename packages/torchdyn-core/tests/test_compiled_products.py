"""Products of narrow matrices are written out, and are what a library makes of them."""

import shutil

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchdyn_core.compiled import wide_products
from torchdyn_core.compiled.products import DECOMPOSITIONS, addmm, mm

aten = torch.ops.aten
ONEDNN = torch.ops.torchdyn.product.default
WIDE = 7


def random(*shape, transposed=False, dtype=torch.float64):
    torch.manual_seed(0)
    return torch.randn(*shape[::-1], dtype=dtype).t() if transposed else torch.randn(*shape, dtype=dtype)


@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("columns", [1, 4, WIDE])
@pytest.mark.parametrize("inner", [1, 4, WIDE])
@pytest.mark.parametrize("rows", [1, 4, WIDE])
def test_values_are_those_of_a_library(rows, inner, columns, transposed):
    a, b = random(rows, inner, transposed=transposed[0]), random(inner, columns, transposed=transposed[1])
    bias = random(columns)
    for function, inputs in ((torch.mm, (a, b)), (torch.addmm, (bias, a, b))):
        found, graph = operators(function, *inputs)
        torch.testing.assert_close(graph(*inputs), function(*inputs), check_stride=True)  # a loop carries it
        left = {aten.mm.default, aten.addmm.default}.intersection(found)
        assert bool(left) == (inner == WIDE and (columns == WIDE or (rows == WIDE and transposed[0])))


def operators(function, *inputs):
    """The operators that a function is traced to, and the graph of them."""
    graph = make_fx(function, decomposition_table=DECOMPOSITIONS)(*inputs)
    return [node.target for node in graph.graph.nodes if node.op == "call_function"], graph


@pytest.mark.parametrize(("inner", "columns"), [(2, WIDE), (WIDE, 2), (2, 2)])
def test_no_routine_is_called_for_narrow_ones(inner, columns):
    a, b = random(WIDE, inner), random(inner, columns)
    found, graph = operators(torch.mm, a, b)
    assert aten.mm.default not in found
    torch.testing.assert_close(graph(a, b), torch.mm(a, b))


def test_sums_over_rows_are_left_to_the_library_the_short_way_round():
    """A weight's gradient: every column of the one with every column of the other."""
    a, b = random(WIDE, 9), random(WIDE, 2)
    found, graph = operators(lambda a, b: torch.mm(a.t(), b), a, b)
    assert found.count(aten.mm.default) == 1
    (product,) = [node for node in graph.graph.nodes if node.target is aten.mm.default]
    assert [tuple(node.meta["val"].shape) for node in product.args] == [(2, WIDE), (WIDE, 9)]
    torch.testing.assert_close(graph(a, b), torch.mm(a.t(), b))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex128, torch.int64])
def test_other_dtypes_stay(dtype):
    a = torch.ones(WIDE, 2).to(dtype)
    assert mm(a, a.t()) is NotImplemented and addmm(a[0, 0], a, a.t()) is NotImplemented


@pytest.mark.parametrize("factors", [{"beta": 2}, {"alpha": 0.5}])
def test_other_factors_stay(factors):
    a = torch.ones(WIDE, 2)
    assert addmm(torch.ones(2), a, torch.ones(2, 2), **factors) is NotImplemented


def test_an_empty_axis_stays():
    assert mm(torch.ones(3, 0), torch.ones(0, WIDE)) is NotImplemented


def test_large_ones_go_to_onednn_where_mkl_knows_half_of_the_processor(monkeypatch):
    monkeypatch.setattr(wide_products, "_mkl_knows_half", lambda: True)
    wide, thin = torch.randn(128, 128), torch.randn(128, 8)
    inputs = wide, torch.randn(128, 128)
    found, graph = operators(lambda a, b: torch.addmm(b[0], a.t(), b), *inputs)
    assert ONEDNN in found and not {aten.mm.default, aten.addmm.default} & set(found)
    torch.testing.assert_close(graph(*inputs), torch.addmm(inputs[1][0], wide.t(), inputs[1]))
    for a, b in ((wide[:32], wide), (wide, thin), (wide.double(), wide.double())):
        assert operators(torch.mm, a, b)[0] == [aten.mm.default]
    monkeypatch.setattr(wide_products, "_mkl_knows_half", lambda: False)
    assert operators(torch.mm, *inputs)[0] == [aten.mm.default]


@pytest.mark.parametrize(
    ("facts", "half"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True}, True), ({"cpu_name": "AMD EPYC", "avx512_f": False}, False),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_f": True}, False), ({}, False),
    ],
)  # fmt: skip
def test_which_processors_mkl_knows_half_of(facts, half, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: facts)
    assert wide_products._mkl_knows_half.__wrapped__() is half


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiling needs a C++ compiler")
@pytest.mark.parametrize("dynamic", [False, True])
def test_what_is_compiled_of_it_is_the_product(dynamic, monkeypatch):
    """In any layout, and for sizes that are symbols."""
    monkeypatch.setattr(wide_products, "_mkl_knows_half", lambda: True)

    def products(a, b):
        return wide_products.product(a, b), wide_products.product(a.t(), b), wide_products.product(b.t(), a)

    compiled = torch.compile(products, dynamic=dynamic, fullgraph=True, options={"cpp_wrapper": True})
    for size in (128, 96) if dynamic else (128,):
        a, b = torch.randn(size, size), torch.randn(size, size)
        for found, expected in zip(compiled(a, b), products(a, b), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
