"""Products of wide matrices as compiled kernels evaluate them: by oneDNN's kernels for blocks, where these are faster.

Torch hands products in float32 to MKL, which has no AVX-512 routines for processors other than Intel's: it gets less
than half of what they could do. oneDNN, which torch brings along too, goes by the instructions that there are; its
kernels for blocks (brgemm), which torch's own compiler calls for narrower types, cost next to nothing to set up.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch._inductor.ir import ExternKernelOut, FixedLayout, TensorBox
from torch._inductor.lowering import register_lowering

from torchdyn_core.compiled.watch import written

__all__ = ["PRODUCT", "THIN", "is_wide", "product", "turned"]

THIN = 8
"""Axes below this leave most of a block empty."""

_HEADERS = ("ATen/Parallel.h", "ATen/native/CPUBlas.h")

# A kernel is made for each number of rows, and kept: so there are blocks of one size, and what is left over.
_SOURCE = """
static inline AOTITorchError aoti_torch_torchdyn_product(AtenTensorHandle out, AtenTensorHandle a, AtenTensorHandle b) {
    void *out_data, *a_data, *b_data;
    int64_t *size_a, *size_b;
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(out, &out_data));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(a, &a_data));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_data_ptr(b, &b_data));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(a, &size_a));
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_get_sizes(b, &size_b));
    const int64_t m = size_a[0], k = size_a[1], n = size_b[1], rows = 256;
    float* const c = static_cast<float*>(out_data);
    const float *const x = static_cast<const float*>(a_data), *const w = static_cast<const float*>(b_data);
    const auto blocks = [=](int64_t begin, int64_t end) {
        for (int64_t i = begin * rows; i < std::min(end * rows, m); i += rows)
            at::native::cpublas::brgemm(std::min(rows, m - i), n, k, k, n, n, false, x + i * k, w, c + i * n, false);
    };
    if (k == 0)
        std::fill_n(c, m * n, 0.0f);
    else if (n != 0)
        at::parallel_for(0, (m + rows - 1) / rows, 1 + 2000000 / (rows * n * k), blocks);
    return AOTI_TORCH_SUCCESS;
}
"""


# torch's cache on disk goes by an operator's name: one that is written otherwise has another
_NAME = f"product_{hashlib.sha256(_SOURCE.encode()).hexdigest()[:8]}"

_library = torch.library.Library("torchdyn", "DEF")
_library.define(f"{_NAME}(Tensor a, Tensor b) -> Tensor")
_library.impl(_NAME, torch.mm, "CompositeExplicitAutograd")
_library.impl(_NAME, lambda a, b: a.new_empty(a.shape[0], b.shape[1]), "Meta")

PRODUCT = getattr(torch.ops.torchdyn, _NAME).default
"""The operator that stands for a product by oneDNN in a graph."""


class _Blocks(ExternKernelOut):
    """The call of it, in the text that torch's compiler writes."""

    def codegen(self, wrapper: Any) -> None:
        included = wrapper._included_extra_headers
        for header in _HEADERS:
            wrapper.include_extra_header(header)
        if _SOURCE not in included:
            included.add(_SOURCE)
            wrapper.header.splice(_SOURCE)
        super().codegen(wrapper)


@register_lowering(PRODUCT)
def _lowered(a: Any, b: Any) -> Any:
    a, b = (_Blocks.require_contiguous(_Blocks.realize_input(part)) for part in (a, b))
    layout = FixedLayout(a.get_device(), a.get_dtype(), [a.get_size()[0], b.get_size()[1]])
    made = _Blocks(layout, [a, b], cpp_kernel_name="aoti_torch_torchdyn_product", python_kernel_name="torch.mm")
    return TensorBox.create(made)


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` by oneDNN's kernels, in a compiled one.

    Arguments:
        a: `(M, K)`, float32.
        b: `(K, N)`, float32.

    Example:
        >>> import torch
        >>> product(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    made: Tensor = PRODUCT(a, b)
    return made


def is_wide(a: Tensor, b: Tensor) -> bool:
    """Whether a product is one for oneDNN: in float32, no axis thin, on a processor that MKL gets half of.

    A size that is a symbol counts as what it was when the kernel was made: either library serves every size.

    Example:
        >>> import torch
        >>> is_wide(torch.eye(2), torch.eye(2))
        False
    """
    if a.dtype != torch.float32 or a.device.type != "cpu" or not _mkl_gets_half():
        return False
    return min(_hint(size) for size in (*a.shape, b.shape[1])) >= THIN


def _hint(size: Any) -> int:
    return int(size.node.hint) if isinstance(size, torch.SymInt) else size


@functools.cache
def _mkl_gets_half() -> bool:
    found: Mapping[str, Any] = torch.cpu.get_capabilities()
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return libraries and bool(found.get("avx512_f")) and str(found.get("cpu_name", "")).startswith("AMD")


aten = torch.ops.aten
_VIEWS = {aten.detach.default, aten.alias.default, aten.t.default, aten.permute.default, aten.transpose.int}


def turned(body: fx.GraphModule, test: fx.GraphModule, since: int) -> list[int]:
    """Have matrices that a loop's products take the other way round, as networks do their weights, turned before it.

    Arguments:
        body: One round of the loop. Its products take new inputs, behind the others.
        test: The loop's condition, which takes the same inputs.
        since: Inputs from this one on are the same in every round.

    Returns:
        Positions of the inputs of which the new ones are the transposes.
    """
    inputs = body.graph.find_nodes(op="placeholder")
    changed = {value for node in body.graph.nodes for value in written(node.target, node.args, node.kwargs)}
    found: dict[fx.Node, fx.Node] = {}
    for node in body.graph.find_nodes(op="call_function", target=PRODUCT):
        source = _turned_input(node.args[1])
        if source is None or source not in inputs[since:] or source in changed:
            continue
        if source not in found:
            for graph in (body, test):
                behind = graph.graph.find_nodes(op="placeholder")[-1]
                with graph.graph.inserting_after(behind):
                    new = graph.graph.placeholder(f"turned_{len(found)}")
                if graph is body:
                    found[source] = new
                    new.meta["val"] = node.args[1].meta["val"].contiguous()
        node.args = (node.args[0], found[source])
    for graph in (body, test):
        graph.recompile()
    return [inputs.index(source) for source in found]


def _turned_input(node: fx.Node) -> fx.Node | None:
    """The input that a node is the transpose of."""
    is_turned = False
    while node.op == "call_function" and node.target in _VIEWS:
        is_turned ^= _turns(node)
        node = node.args[0]  # type: ignore[assignment]
    return node if node.op == "placeholder" and is_turned else None


def _turns(node: Any) -> bool:
    """Whether a view of a matrix exchanges its axes."""
    if node.target is aten.permute.default:
        return [axis % 2 for axis in node.args[1]] == [1, 0]
    if node.target is aten.transpose.int:
        return bool((node.args[1] - node.args[2]) % 2)
    return node.target is aten.t.default
