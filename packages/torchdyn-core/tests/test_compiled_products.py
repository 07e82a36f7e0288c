"""Products of narrow matrices are written out, and are what a library makes of them."""

import shutil

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchdyn_core import Fixed, autonomous, solve
from torchdyn_core.compiled import while_loop, wide_products
from torchdyn_core.compiled.products import DECOMPOSITIONS, addmm, mm
from torchdyn_core.compiled.wide_products import PRODUCT

aten = torch.ops.aten
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


def test_wide_ones_go_to_onednn_where_mkl_gets_half_of_the_processor(monkeypatch):
    monkeypatch.setattr(wide_products, "_mkl_gets_half", lambda: True)
    wide, thin = torch.randn(16, 8), torch.randn(8, WIDE)
    inputs = wide, torch.randn(16, 12)
    found, graph = operators(lambda a, b: torch.addmm(b[0], a.t(), b), *inputs)
    assert PRODUCT in found and not {aten.mm.default, aten.addmm.default} & set(found)
    torch.testing.assert_close(graph(*inputs), torch.addmm(inputs[1][0], wide.t(), inputs[1]))
    for a, b in ((wide, thin), (wide.double(), wide.double().t())):
        assert operators(torch.mm, a, b)[0] == [aten.mm.default]
    monkeypatch.setattr(wide_products, "_mkl_gets_half", lambda: False)
    assert PRODUCT not in operators(torch.mm, wide, wide.t())[0]


@pytest.mark.parametrize(
    ("facts", "half"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True}, True), ({"cpu_name": "AMD EPYC", "avx512_f": False}, False),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_f": True}, False), ({}, False),
    ],
)  # fmt: skip
def test_which_processors_mkl_gets_half_of(facts, half, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: facts)
    assert wide_products._mkl_gets_half.__wrapped__() is half


COMPILES = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiling needs a C++ compiler"
)


@COMPILES
@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_compiled_of_one_is_the_product(threads):
    """Of any number of rows and terms, none among them, and in any layout."""

    def products(a, b, c):
        return wide_products.product(a, b), wide_products.product(a.t(), c), wide_products.product(c[:, ::2], b)

    compiled = torch.compile(products, fullgraph=True, options={"cpp_wrapper": True})
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for rows in (7, 256, 700, 40_000):
            inputs = torch.randn(rows, 12), torch.randn(12, 10), torch.randn(rows, 24)
            for part in inputs[::2]:
                torch._dynamo.maybe_mark_dynamic(part, 0)
            for found, expected in zip(compiled(*inputs), products(*inputs), strict=True):
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    finally:
        torch.set_num_threads(before)


@COMPILES
def test_weights_that_a_loop_takes_turned_are_turned_before_it(monkeypatch):
    """Once, whatever the number of steps and of stages."""
    monkeypatch.setattr(wide_products, "_mkl_gets_half", lambda: True)
    made, original = [], wide_products.turned
    monkeypatch.setattr(while_loop, "turned", lambda *given: made.append(original(*given)) or made[-1])
    torch.manual_seed(0)
    field = autonomous(torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8)))
    y0, parameters = torch.randn(9, 8, requires_grad=True), list(field.parameters())

    def outcome(compile):
        out = solve(field, y0, [0.0, 1.0], solver="rk4", controller=Fixed(steps=5), compile=compile).ys[-1]
        return out, *torch.autograd.grad(out.square().sum(), [y0, *parameters])

    for _ in range(2):
        for found, expected in zip(outcome("require"), outcome(False), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            parameters[0].mul_(1.5)  # what was turned is turned again
    assert [len(places) for places in made] == [2, 2]


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (lambda w: w.t(), True), (lambda w: w.permute(1, 0), True), (lambda w: w.permute(-1, -2).detach(), True),
        (lambda w: w.transpose(0, -1), True), (lambda w: w.permute(0, 1), False), (lambda w: w.transpose(1, -1), False),
        (lambda w: w.t().t(), False), (lambda w: w.t().permute(1, 0).transpose(0, 1), True), (lambda w: w, False),
        (lambda w: w.t() * 1.0, False),
    ],
)  # fmt: skip
def test_only_what_is_turned_is_turned(view, expected):
    a, w = torch.randn(9, 8), torch.randn(8, 8)
    body = make_fx(lambda a, w: (PRODUCT(a, view(w)), w + 1.0))(a, w)
    test = make_fx(lambda a, w: a.sum() > 0)(a, w)
    want = body(a, w)[0]
    places = wide_products.turned(body, test, 1)
    assert places == ([1] if expected else [])
    more = [w.t().contiguous()] if expected else []
    torch.testing.assert_close(body(a, w, *more)[0], want)
    assert bool(test(a, w, *more)) == bool(a.sum() > 0)


def test_matrices_that_a_loop_carries_or_writes_to_are_not_turned_before_it():
    a, w = torch.randn(9, 8), torch.randn(8, 8)
    test = make_fx(lambda a, w: a.sum() > 0)(a, w)
    assert wide_products.turned(make_fx(lambda w, a: PRODUCT(a, w.t()))(w, a), test, 1) == []
    written = make_fx(lambda a, w: (PRODUCT(a, w.t()), w.add_(1.0)))(a, w.clone())
    assert wide_products.turned(written, test, 1) == []
