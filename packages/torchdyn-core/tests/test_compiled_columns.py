"""Graphs in columns compute what they computed before, and compute it column by column."""

import functools
import operator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from torchdyn_core.compiled.columns import in_columns

aten = torch.ops.aten
Y = torch.randn(5, 2, dtype=torch.float64)
RATES = torch.tensor([1.5, -3.0], dtype=torch.float64)
SINGLE = Y.float()


def rewritten(function, *inputs):
    """The graph of a function before and after, and whether it was changed."""
    with FakeTensorMode() as mode:
        before = make_fx(function)(*(mode.from_tensor(t) for t in inputs))
        after = make_fx(function)(*(mode.from_tensor(t) for t in inputs))
        changed = in_columns(after)
    after.graph.lint()
    return before, after, changed


def counted(graph, target):
    return sum(node.target is target for node in graph.graph.nodes)


def added(parts):
    return functools.reduce(operator.add, parts)


def swapped(y):
    a, b = y.unbind(-1)
    return torch.stack([b, -a], -1)


FUNCTIONS = {
    "stages": (lambda y: swapped(y + 0.5 * swapped(y + 0.1 * swapped(y))), (Y,)),
    "flip": (lambda y, r: y * (r * 2 + y.flip(-1)), (Y, RATES)),
    "cat and slice": (lambda y: torch.cat([y[..., 1:], y[..., :1].sin()], -1).exp()[..., :1], (Y,)),
    "select": (lambda y: torch.stack([y[:, 1], y[:, 0]], 1).mul(2)[:, 0], (Y,)),
    "norm": (lambda y: (swapped(y) / (1 + y.abs())).square().sum().sqrt(), (Y,)),
    "norm of rows": (lambda y: (swapped(y) / (1 + y.abs())).square().sum([1]), (Y,)),
    "sums of columns": (lambda y: swapped(y).square().sum([0]) + 1, (Y,)),
    "sums of rows, kept": (lambda y: swapped(y).square().sum(0, True) * y, (Y,)),
    "sums of sums": (
        lambda y: added((swapped(y) ** i).sum([0], True).view(2) for i in range(1, 4)) + y.square().sum(0),
        (Y,),
    ),
    "sums of other axes": (lambda y: swapped(y).sum([0], True) + swapped(y).sum([0], True).view(2).mul(2), (Y,)),
    "sums over two axes": (
        lambda y: added((swapped(y) * i).sum([0, 1]) for i in (1, 2)),
        (torch.randn(3, 4, 2),),
    ),
    "sums among axes of one": (
        lambda y: (swapped(y).sum([0]).view(2, 1) + (swapped(y) * 3).sum([0]).view(2, 1)) * y,
        (torch.randn(5, 1, 2),),
    ),
    "one column summed": (lambda y: (swapped(y)[:, :1] * 2).sum([0], True) + y[:, :1].sin().sum([0], True), (Y,)),
    "a view that mixes": (lambda y: (swapped(y) * 2).view(-1) + y.view(-1), (Y,)),
    "flags of rows": (lambda y, f: torch.where(f[:, None], swapped(y) + 1, y), (Y, torch.rand(5) > 0.5)),
    "first axis": (lambda y: torch.stack([y[1] * 2, y[0]], 0) + y, (torch.randn(2, 5),)),
    "middle axis": (lambda y, z: torch.stack([y[:, 1], y[:, 0]], 1) * z, (torch.randn(3, 2, 4), torch.randn(4))),
    "two axes": (lambda y: torch.stack([y, y * 2], -1) + torch.stack([y, -y], 0)[..., None], (torch.randn(2, 2),)),
    "more axes": (lambda y, z: swapped(y) + z, (Y, torch.randn(3, 1, 2, dtype=torch.float64))),
    "one column": (lambda y, z: swapped(y) * z, (Y, torch.randn(5, 1, dtype=torch.float64))),
    "wider numbers": (lambda y, z: swapped(y) * z, (SINGLE, torch.tensor(2.0, dtype=torch.float64))),
    "wider vectors": (lambda y, z: swapped(y) * z, (SINGLE, RATES)),
    "comparisons": (lambda y: (swapped(y) > y) & (swapped(y) > 0), (Y,)),
    "whole numbers": (lambda y: swapped((y * 10).int()).sum(), (Y,)),
    "a matrix": (lambda y, w: swapped(y @ w) @ w + swapped(y), (Y, torch.randn(2, 2, dtype=torch.float64))),
    "numbers": (lambda y: torch.stack([y[1], -y[0]]) * y, (Y[0],)),
    "complex": (lambda y: swapped(torch.complex(y, -y)) * 2j, (Y,)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_dtypes_and_shapes_stay(name):
    function, inputs = FUNCTIONS[name]
    before, after, _ = rewritten(function, *inputs)
    torch.testing.assert_close(after(*inputs), before(*inputs), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "stacks"), [("stages", 1), ("flip", 1), ("norm", 0), ("norm of rows", 0), ("flags of rows", 1)]
)
def test_a_stack_is_made_only_where_something_needs_one(name, stacks):
    function, inputs = FUNCTIONS[name]
    _, after, changed = rewritten(function, *inputs)
    assert changed and counted(after, aten.stack.default) == stacks
    assert all(node.meta["val"].dim() < 2 for node in after.graph.nodes if node.target is aten.mul.Tensor)


def test_a_sum_of_sums_is_one():
    """What every stage adds to a gradient is added row by row, and summed once."""
    function, inputs = FUNCTIONS["sums of sums"]
    before, after, changed = rewritten(function, *inputs)
    assert changed and counted(before, aten.sum.dim_IntList) == 4
    # two columns of what is swapped; `y` itself is in none
    assert counted(after, aten.sum.dim_IntList) == 3


@pytest.mark.parametrize("name", ["wider vectors", "numbers"])
def test_what_would_be_promoted_or_made_of_numbers_stays(name):
    function, inputs = FUNCTIONS[name]
    assert not rewritten(function, *inputs)[2]


def test_many_columns_stay():
    assert not rewritten(lambda y: torch.stack(list(y.unbind(-1)), -1) * 2, torch.randn(3, 5))[2]


@pytest.mark.parametrize(
    "taken",
    [
        lambda b: torch.stack([b[:, 1], b[:, 0]], -1),
        lambda b: torch.cat([b[:, 1:], b[:, :1]], -1),
        lambda b: b.flip(-1),
        lambda b: torch.stack([b.detach()[:, 1], b[:, 0] + 1], -1),
    ],
    ids=["stack", "cat", "flip", "detached"],
)
def test_what_is_written_to_is_read_when_it_was(taken):
    """A column of a buffer is a view: read behind a write it would be another one."""

    def function(y, buffer):
        first = taken(buffer)
        buffer.add_(1)
        return first * y + swapped(y) * buffer

    before, after, _ = rewritten(function, Y, torch.zeros_like(Y))
    torch.testing.assert_close(after(Y, torch.ones_like(Y)), before(Y, torch.ones_like(Y)))


def test_a_graph_that_writes_to_its_own_results_stays():
    def function(y):
        made = torch.zeros_like(y)
        made[:, 0] = y[:, 1]
        return swapped(made) + made

    before, after, changed = rewritten(function, Y)
    assert not changed
    torch.testing.assert_close(after(Y), before(Y))
