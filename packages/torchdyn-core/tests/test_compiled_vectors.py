"""Vectors of numbers that are put together by choice are those that are stacked."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchdyn_core.compiled.kernel import Shadows
from torchdyn_core.compiled.packing import Packing
from torchdyn_core.compiled.vectors import DECOMPOSITIONS, MOST, stack
from torchdyn_core.compiled.while_loop import FEW, _small

aten = torch.ops.aten


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("count", [2, 3, MOST])
def test_entries_stand_where_they_were_put(dtype, count):
    numbers = [torch.tensor(3 * i).to(dtype) for i in range(count)]
    graph = make_fx(lambda *n: torch.stack(n), decomposition_table=DECOMPOSITIONS)(*numbers)
    assert all(node.target is not aten.stack.default for node in graph.graph.nodes)
    others = [7 - number for number in numbers]
    assert torch.equal(graph(*others), torch.stack(others)) and graph(*others).dtype == dtype


def test_what_is_not_chosen_reaches_no_entry():
    assert stack([torch.tensor(float("nan")), torch.tensor(1.0)])[1] == 1


@pytest.mark.parametrize(
    "tensors",
    [
        [torch.tensor(1.0)],
        [torch.tensor(1.0)] * (MOST + 1),
        [torch.ones(1)] * 2,
        [torch.tensor(True)] * 2,
        [torch.tensor(1j)] * 2,
        [torch.tensor(1.0), torch.tensor(1.0).double()],
    ],
    ids=["one", "many", "vectors", "flags", "complex", "mixed"],
)
def test_other_stacks_stay(tensors):
    assert stack(tensors) is NotImplemented


def test_flags_travel_among_whole_numbers():
    tensors = [torch.tensor(True), torch.tensor(5), torch.tensor(0.5), torch.tensor(False), torch.ones(2)]
    packing = Packing(tensors, apart=[])
    packed = packing.pack(tensors)
    assert [part.dtype for part in packed] == [torch.int64, torch.float32, torch.float32] and len(packing) == 3
    for got, want in zip(packing.unpack(packed), tensors, strict=True):
        assert torch.equal(got, want) and got.dtype == want.dtype


def test_a_loop_is_small_where_its_tensors_are_and_stay_so():
    assert _small([torch.ones(FEW - 1), torch.tensor(1.0)]) and not _small([torch.ones(FEW), torch.tensor(1.0)])
    assert not _small([Shadows().of(torch.ones(3), [True])])
