"""Products of wide matrices as compiled kernels evaluate them: by oneDNN, where that is the faster library.

Torch hands products in float32 to MKL, which has no AVX-512 routines for processors other than Intel's: it gets half of
what they could do. oneDNN, which torch brings along too, goes by the instructions that there are; but a call takes some
seven microseconds to set up, so that small products stay with MKL.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch._inductor.ir import TensorBox
from torch._inductor.lowering import register_lowering
from torch._inductor.mkldnn_ir import LinearUnary

__all__ = ["WORK", "is_for_onednn", "product"]

WORK = 1_000_000
"""Multiplications above which oneDNN is the faster one, setting it up included."""

_THIN = 16
"""Axes below this have their own routines, in either library."""

_library = torch.library.Library("torchdyn", "DEF")
_library.define("product(Tensor x, Tensor weight) -> Tensor")
_library.impl("product", lambda x, weight: torch.mm(x, weight.t()), "CompositeExplicitAutograd")
_library.impl("product", lambda x, weight: x.new_empty(x.shape[0], weight.shape[0]), "Meta")


@register_lowering(torch.ops.torchdyn.product.default)
def _lowered(x: Any, weight: Any) -> Any:
    return TensorBox.create(LinearUnary.create(x, weight, None, "none", [], ""))


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b` by oneDNN, in a compiled kernel.

    Arguments:
        a: `(M, K)`, float32.
        b: `(K, N)`, float32.

    Example:
        >>> import torch
        >>> product(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[1.0, 2.0], [3.0, 4.0]]
    """
    made: Tensor = torch.ops.torchdyn.product.default(a, b.t())
    return made


def is_for_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether a product is large enough, in float32 on the CPU, and the processor one that MKL knows half of.

    A size that is a symbol counts as what it was when the kernel was made: either library serves every size.

    Example:
        >>> import torch
        >>> is_for_onednn(torch.eye(2), torch.eye(2))
        False
    """
    if a.dtype != torch.float32 or a.device.type != "cpu" or not _mkl_knows_half():
        return False
    sizes = [_hint(size) for size in (*a.shape, b.shape[1])]
    return min(sizes) >= _THIN and sizes[0] * sizes[1] * sizes[2] >= WORK


def _hint(size: Any) -> int:
    return int(size.node.hint) if isinstance(size, torch.SymInt) else size


@functools.cache
def _mkl_knows_half() -> bool:
    found = torch.cpu.get_capabilities()
    libraries = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()
    return libraries and bool(found.get("avx512_f")) and str(found.get("cpu_name", "")).startswith("AMD")
