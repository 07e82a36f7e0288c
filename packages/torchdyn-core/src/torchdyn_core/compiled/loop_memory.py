"""Memory of compiled loops: what a round has allocated serves the following rounds too.

Torch's compiler allocates the intermediate tensors of a loop in every round and frees them within it. In small networks
that is a fifth of a training step: blocks of some kilobytes are too large for the quick lists of an allocator, which
merges and splits them again each time. Here a tensor stays with the loop until it is done, and a round takes it up if
nobody else holds it: what was carried to the next round, or a view of it, is still held, and is left alone.

Large tensors are allocated as ever. They take longer to fill than to allocate, and what one frees serves others.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch._inductor.codegen import common
from torch._inductor.codegen.cpp_wrapper_cpu import CppWrapperCpu

__all__ = ["LARGE", "VERSION", "kept_between_rounds"]

LARGE = 65536
"""Entries from which on a tensor is large."""

_HEADERS = ("vector", "torch/csrc/inductor/aoti_torch/utils.h")

# Two tensors for each place: of what is carried, one round reads the last one while it writes the next.
_SOURCE = (
    f"""
constexpr int64_t torchdyn_large = {LARGE};
"""
    + """
struct TorchdynKept { RAIIAtenTensorHandle tensors[2]; };
static inline AOTITorchError aoti_torch_torchdyn_kept(
    std::vector<TorchdynKept>& kept, size_t place, int64_t ndim, const int64_t* sizes, const int64_t* strides,
    int32_t dtype, int32_t device_type, int32_t device_index, AtenTensorHandle* out) {
    int64_t entries = 1;
    for (int64_t axis = 0; axis < ndim; ++axis) entries *= sizes[axis];
    if (entries >= torchdyn_large)
        return aoti_torch_empty_strided(ndim, sizes, strides, dtype, device_type, device_index, out);
    if (place >= kept.size()) kept.resize(place + 1);
    for (auto& tensor : kept[place].tensors) {
        if (tensor.get() != nullptr) {
            const at::Tensor& held = *torch::aot_inductor::tensor_handle_to_tensor_pointer(tensor);
            if (held.use_count() != 1 || held.storage().use_count() != 1) continue;
            // sizes may depend on what was computed, and are others in each round then
            if (held.sizes() == at::IntArrayRef(sizes, ndim) && held.strides() == at::IntArrayRef(strides, ndim))
                return aoti_torch_new_tensor_handle(tensor, out);
        }
        AtenTensorHandle made;
        AOTI_TORCH_ERROR_CODE_CHECK(
            aoti_torch_empty_strided(ndim, sizes, strides, dtype, device_type, device_index, &made));
        tensor = RAIIAtenTensorHandle(made);
        return aoti_torch_new_tensor_handle(tensor, out);
    }
    return aoti_torch_empty_strided(ndim, sizes, strides, dtype, device_type, device_index, out);
}
"""
)

# the number is that of the rewriting below
VERSION = f"2-{hashlib.sha256(_SOURCE.encode()).hexdigest()[:8]}"
"""What torch's cache on disk tells loops by that were written in another way."""

_ALLOCATES = "aoti_torch_empty_strided("


class _Here(threading.local):
    """Whether this thread has entered: what others compile meanwhile is written as ever."""

    entered = False


_here = _Here()
_Untyped: Any = CppWrapperCpu  # its methods have no types


class _Wrapper(_Untyped):  # type: ignore[misc]
    """Torch's writer of C++ around kernels; within loops, allocations are taken from what the loop keeps."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[int, str] = {}  # the name of what a loop keeps, by the graphs of its condition and its body
        self._places: Counter[str] = Counter()  # how many tensors, by that name

    @staticmethod
    def create(*args: Any, **kwargs: Any) -> CppWrapperCpu:
        return _Wrapper() if _here.entered else CppWrapperCpu()

    def codegen_while_loop(self, while_loop: Any, stack_output: bool = False) -> None:
        if not self._kept:
            for header in _HEADERS:
                self.include_extra_header(header)
            self.header.splice(_SOURCE)
        name = f"{while_loop.get_name()}_kept"
        for part in (while_loop.cond_subgraph, while_loop.body_subgraph):
            self._kept[id(part.graph)] = name
        self.writeline(f"std::vector<TorchdynKept> {name};")
        super().codegen_while_loop(while_loop, stack_output)

    def make_allocation(self, name: str, device: Any, *args: Any, **kwargs: Any) -> str:
        before = len(self.wrapper_call._lines)
        made: str = super().make_allocation(name, device, *args, **kwargs)
        kept = self._kept.get(id(self.get_codegened_graph()))
        if kept is not None and device.type == "cpu":
            self._take(kept, self.wrapper_call._lines, before)
        return made

    def _take(self, kept: str, lines: list[Any], since: int) -> None:
        """Have the calls that allocate, in lines of text, ask for what is kept first."""
        for index in range(since, len(lines)):
            line = lines[index]
            if isinstance(line, str) and _ALLOCATES in line:
                lines[index] = line.replace(_ALLOCATES, f"aoti_torch_torchdyn_kept({kept}, {self._places[kept]}, ")
                self._places[kept] += 1


@contextmanager
def kept_between_rounds() -> Iterator[None]:
    """While this is entered, loops that are compiled keep what they allocate until they are done."""
    common.init_backend_registration()
    cpu = common.device_codegens["cpu"]
    before = cpu.cpp_wrapper_codegen
    if before not in (CppWrapperCpu, _Wrapper):  # another backend's: it is not ours to change
        yield
        return
    outer, _here.entered = _here.entered, True
    cpu.cpp_wrapper_codegen = _Wrapper
    try:
        yield
    finally:
        cpu.cpp_wrapper_codegen, _here.entered = before, outer
