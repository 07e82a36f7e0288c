"""Whether results of compiled code are believed: they may differ by rounding from those of torch's operators."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from torchdyn_core.errors import IncompatibleError

__all__ = ["Differs", "Miscompiled", "agree"]


class Differs(IncompatibleError):
    """Compiled code computes something else than the operators that it is made of."""


class Miscompiled(Differs):
    """And that is the compiler's doing, so that nothing else that it makes is believed."""


def agree(pairs: Sequence[tuple[Tensor, Tensor]], floor: float = 0.0) -> bool:
    """Whether results are the same but for what rounding makes of a few steps.

    Arguments:
        pairs: What was found, and what is expected.
        floor: Least size of entries, as a part of the largest one, that rounding is measured by.

    Example:
        >>> import torch
        >>> agree([(torch.tensor(1.0), torch.tensor(1.0001))]), agree([(torch.tensor(1.0), torch.tensor(1.1))])
        (True, False)
    """
    sizes = [_size(b) for _, b in pairs]
    least = floor * max(sizes, default=0.0)
    return all(_close(a, b, max(size, least)) for (a, b), size in zip(pairs, sizes, strict=True))


def _size(tensor: Tensor) -> float:
    """The largest finite entry."""
    return float(tensor.abs().nan_to_num(0.0, 0.0, 0.0).max()) if tensor.numel() and _rounds(tensor) else 0.0


def _rounds(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _close(a: Tensor, b: Tensor, size: float) -> bool:
    if not _rounds(a):
        return torch.equal(a, b)
    part, kind = 10 * torch.finfo(a.dtype).eps ** 0.5, a.device.type
    if torch.is_autocast_enabled(kind):  # what a fused kernel leaves out is a rounding to the narrow type
        part = max(part, 10 * torch.finfo(torch.get_autocast_dtype(kind)).eps)
    return torch.allclose(a, b, rtol=0.0, atol=part * size, equal_nan=True)
