"""Layouts: whether the rows of a state share their steps, step on their own, or step in segments.

A layout is all that the loop knows of the difference. Times, step sizes, errors and decisions are *samples*: Python
scalars where steps are shared, else tensors `(B,)`. Solvers and fields see *rows*: tensors `()` or `(R,)`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torchdyn_core.errors import ShapeError
from torchdyn_core.scalars import Flag, Scalar
from torchdyn_core.tree import Tree, align, all_finite, leaves, tree_map

__all__ = ["Layout", "PerSample", "Segments", "Shared", "Unrolled"]

Norm = Callable[[Tree], Tensor]


class Layout(ABC):
    """How samples map to rows of the state.

    Attributes:
        samples: How many samples step on their own; None where steps are shared.
        device: Where times live.
        dtype: The dtype of times.
        known: Whether the values of tensors can be looked at.
    """

    known: bool = True

    samples: int | None
    device: torch.device
    dtype: torch.dtype

    @property
    def shared(self) -> bool:
        """Whether all rows share their steps."""
        return self.samples is None

    def sample_of_row(self) -> Tensor:
        """The sample that each row belongs to, `(R,)`, where samples step on their own."""
        return self.rows(torch.arange(self.samples or 0, device=self.device))

    @property
    def on_graph(self) -> bool:
        """Whether the loop runs on autograd's graph, where what a waiting sample computes would enter gradients."""
        return torch.is_grad_enabled()

    def numbers(self, ts: Tensor) -> list[float]:
        """Report times `(T,)` as numbers."""
        return ts.tolist()

    @abstractmethod
    def constant(self, value: float) -> Scalar:
        """A number for every sample."""

    @abstractmethod
    def flag(self, value: bool) -> Flag:
        """A decision for every sample."""

    @abstractmethod
    def rows(self, value: Scalar) -> Tensor:
        """Samples spread over rows."""

    @abstractmethod
    def select(self, flag: Flag, new: Tree, old: Tree) -> Tree:
        """Rows of `new` where the flag holds for their sample, else rows of `old`."""

    def lend(self, flag: Flag, y: Tree) -> Tree:
        """The state with that of another sample in place of those where the flag does not hold.

        Samples that wait are evaluated with the others, and what comes out is thrown away. But at the state where one
        stopped, the field may have no finite derivative, and `0 * inf` would enter the gradient of what all share.
        Segments differ in size and cannot lend.
        """
        return y

    @abstractmethod
    def rms(self, ratio: Tree) -> Scalar:
        """Root mean square over all entries of a sample."""

    @abstractmethod
    def finite(self, tree: Tree) -> Flag:
        """Whether all entries of a sample are finite."""

    def sum_rows(self, leaf: Tensor) -> Tensor:
        """All entries, summed: of each sample where samples step on their own."""
        return leaf.sum().to(self.dtype)

    @abstractmethod
    def all_rows(self, flag: Tensor) -> Flag:
        """Whether a flag of rows holds for all rows of a sample."""

    def measure(self, ratio: Tree, norm: Norm | None) -> Scalar:
        """The norm of an error that is already divided by its tolerance."""
        if norm is None:
            return self.rms(ratio)
        return self._checked(norm(ratio))

    @abstractmethod
    def _checked(self, value: Tensor) -> Scalar:
        """What a user's norm returned, as a scalar for each sample."""


def _real_square(leaf: Tensor) -> Tensor:
    leaf = leaf.abs() if leaf.is_complex() else leaf
    if leaf.dtype in (torch.float16, torch.bfloat16):
        leaf = leaf.float()
    return leaf.square()


class Shared(Layout):
    """All rows share their steps; times are Python floats."""

    samples = None

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._recent: dict[float, Tensor] = {}

    def constant(self, value: float) -> float:
        return value

    def flag(self, value: bool) -> bool:
        return value

    def rows(self, value: float) -> Tensor:
        # the end of one step is the start of the next, and of every retry: the same number, the same tensor
        made = self._recent.get(value)
        if made is None:
            made = torch.full((), value, dtype=self.dtype, device=self.device)
            if len(self._recent) >= 4:
                del self._recent[next(iter(self._recent))]
            self._recent[value] = made
        return made

    def select(self, flag: bool, new: Tree, old: Tree) -> Tree:
        return new if flag else old

    def rms(self, ratio: Tree) -> float:
        parts = leaves(ratio)
        count = sum(p.numel() for p in parts)
        if not count:
            return 0.0
        if len(parts) == 1:
            part = parts[0]
            wide = torch.float32 if part.dtype in (torch.float16, torch.bfloat16) else None
            return float(torch.linalg.vector_norm(part, dtype=wide).item()) / math.sqrt(count)
        total = sum(_real_square(p).sum().double() for p in parts)
        return math.sqrt(float(total) / count)

    def finite(self, tree: Tree) -> bool:
        return all(all_finite(leaf) for leaf in leaves(tree))

    def all_rows(self, flag: Tensor) -> bool:
        return bool(flag.all())

    def _checked(self, value: Tensor) -> float:
        if not isinstance(value, Tensor) or value.numel() != 1 or value.is_complex():
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ShapeError(f"the norm returned {got}; wanted one real number")
        return float(value)


class Unrolled(Shared):
    """Shared steps that a compiler unrolls: times are numbers as ever, while no tensor has a value yet.

    Arguments:
        ts: The report times, as numbers.
    """

    known = False

    def __init__(self, device: torch.device, dtype: torch.dtype, ts: Sequence[float]) -> None:
        super().__init__(device, dtype)
        self._numbers = [float(t) for t in ts]

    def numbers(self, ts: Tensor) -> list[float]:
        return self._numbers

    def finite(self, tree: Tree) -> bool:
        return True  # nobody knows yet; NaN goes through to the end, as it does in any compiled model


class PerSample(Layout):
    """Each row of the leading axis is a sample."""

    def __init__(self, samples: int, device: torch.device, dtype: torch.dtype) -> None:
        self.samples: int = samples
        self.device, self.dtype = device, dtype

    def constant(self, value: float) -> Tensor:
        return torch.full((self.samples,), value, dtype=self.dtype, device=self.device)

    def flag(self, value: bool) -> Tensor:
        return torch.full((self.samples,), value, dtype=torch.bool, device=self.device)

    def rows(self, value: Tensor) -> Tensor:
        return value

    def select(self, flag: Tensor, new: Tree, old: Tree) -> Tree:
        flag = self.rows(flag)
        return tree_map(lambda a, b: torch.where(align(flag, a), a, b), new, old)

    def lend(self, flag: Tensor, y: Tree) -> Tree:
        if bool(flag.all()) or not bool(flag.any()):
            return y
        lender = int(flag.long().argmax())
        return self.select(flag, y, tree_map(lambda leaf: leaf[lender].detach().expand_as(leaf), y))

    def rms(self, ratio: Tree) -> Tensor:
        parts = leaves(ratio)
        total, count = self.constant(0.0), self.constant(0.0)
        for part in parts:
            square = _real_square(part).reshape(part.shape[0], part[0:1].numel())
            total = total + self._gather(square.sum(1).to(self.dtype))
            count = count + self._gather(torch.full_like(square[:, 0:0].sum(1), square.shape[1]).to(self.dtype))
        # step sizes are constants, in forward mode too
        return torch.where(count > 0, (total / count.clamp(min=1.0)).sqrt(), torch.zeros_like(total)).detach()

    def finite(self, tree: Tree) -> Tensor:
        flag = self.flag(True)
        for leaf in leaves(tree):
            bad = (~torch.isfinite(leaf)).reshape(leaf.shape[0], leaf[0:1].numel()).any(1)
            flag = flag & (self._gather(bad.to(self.dtype)) == 0)
        return flag

    def all_rows(self, flag: Tensor) -> Tensor:
        return self._gather((~flag).to(self.dtype)) == 0

    def sum_rows(self, leaf: Tensor) -> Tensor:
        """All entries of a sample, summed."""
        return self._gather(leaf.reshape(leaf.shape[0], leaf[0:1].numel()).sum(1).to(self.dtype))

    def _gather(self, rows: Tensor) -> Tensor:
        """Rows summed into samples."""
        return rows

    def _checked(self, value: Tensor) -> Tensor:
        if not isinstance(value, Tensor) or value.shape != (self.samples,):
            got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ShapeError(f"the norm returned {got}; wanted ({self.samples},), one real number for each sample")
        return value.detach().to(self.dtype)


class Segments(PerSample):
    """Rows with the same id are one sample: the nodes of a graph in a batch of graphs.

    Arguments:
        ids: The sample of each row, `(R,)`, long, from 0.
        samples: How many samples there are.
    """

    def __init__(self, ids: Tensor, samples: int, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(samples, device, dtype)
        self.ids = ids

    def rows(self, value: Tensor) -> Tensor:
        return value[self.ids]

    def lend(self, flag: Tensor, y: Tree) -> Tree:
        return y

    def _gather(self, rows: Tensor) -> Tensor:
        return torch.zeros(self.samples, dtype=rows.dtype, device=rows.device).index_add(0, self.ids, rows)
