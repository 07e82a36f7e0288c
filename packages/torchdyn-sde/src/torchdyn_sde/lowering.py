"""What the compiler is told about elementwise functions: how one entry of their results is computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._inductor import ir, virtualized
from torch._inductor.lowering import broadcast_tensors, register_lowering

__all__ = ["Number", "Numbers", "tell"]


class Number:
    """An entry of a tensor in the compiler's own terms.

    Arguments:
        value: What the compiler calls it.
        dtype: Of the tensor.
    """

    def __init__(self, value: Any, dtype: torch.dtype) -> None:
        self.value, self.dtype = value, dtype

    def _like(self, other: Any) -> Any:
        return other.value if isinstance(other, Number) else virtualized.ops.constant(other, self.dtype)

    def _made(self, value: Any) -> Number:
        return Number(value, self.dtype)

    def _told(self, value: Any) -> Number:
        return Number(value, torch.bool)

    def __add__(self, other: Any) -> Number:
        return self._made(virtualized.ops.add(self.value, self._like(other)))

    def __sub__(self, other: Any) -> Number:
        return self._made(virtualized.ops.sub(self.value, self._like(other)))

    def __rsub__(self, other: Any) -> Number:
        return self._made(virtualized.ops.sub(self._like(other), self.value))

    def __mul__(self, other: Any) -> Number:
        return self._made(virtualized.ops.mul(self.value, self._like(other)))

    def __truediv__(self, other: Any) -> Number:
        return self._made(virtualized.ops.truediv(self.value, self._like(other)))

    def __rtruediv__(self, other: Any) -> Number:
        return self._made(virtualized.ops.truediv(self._like(other), self.value))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Number:
        return self._made(virtualized.ops.neg(self.value))

    def __and__(self, other: Any) -> Number:
        if self.dtype is torch.bool:
            return self._made(virtualized.ops.logical_and(self.value, self._like(other)))
        return self._made(virtualized.ops.bitwise_and(self.value, self._like(other)))

    def __or__(self, other: Any) -> Number:
        if self.dtype is torch.bool:
            return self._made(virtualized.ops.logical_or(self.value, self._like(other)))
        return self._made(virtualized.ops.bitwise_or(self.value, self._like(other)))

    def __xor__(self, other: Any) -> Number:
        return self._made(virtualized.ops.bitwise_xor(self.value, self._like(other)))

    def __lshift__(self, other: int) -> Number:
        return self._made(virtualized.ops.bitwise_left_shift(self.value, self._like(other)))

    def __rshift__(self, other: int) -> Number:
        return self._made(virtualized.ops.bitwise_right_shift(self.value, self._like(other)))

    def __lt__(self, other: Any) -> Number:
        return self._told(virtualized.ops.lt(self.value, self._like(other)))

    def __le__(self, other: Any) -> Number:
        return self._told(virtualized.ops.le(self.value, self._like(other)))

    def __gt__(self, other: Any) -> Number:
        return self._told(virtualized.ops.gt(self.value, self._like(other)))

    def __ge__(self, other: Any) -> Number:
        return self._told(virtualized.ops.ge(self.value, self._like(other)))

    def __eq__(self, other: object) -> Number:  # type: ignore[override]
        return self._told(virtualized.ops.eq(self.value, self._like(other)))

    def __ne__(self, other: object) -> Number:  # type: ignore[override]
        return self._told(virtualized.ops.ne(self.value, self._like(other)))

    __hash__ = None  # type: ignore[assignment]


class Numbers:
    """The functions that elementwise functions are written with, for numbers."""

    @staticmethod
    def select(condition: Number, a: Any, b: Any) -> Number:
        """The one or the other."""
        like = a if isinstance(a, Number) else b
        return Number(virtualized.ops.where(condition.value, like._like(a), like._like(b)), like.dtype)

    @staticmethod
    def sqrt(x: Number) -> Number:
        """The root."""
        return Number(virtualized.ops.sqrt(x.value), x.dtype)

    @staticmethod
    def log(x: Number) -> Number:
        """The natural logarithm."""
        return Number(virtualized.ops.log(x.value), x.dtype)

    @staticmethod
    def floor(x: Number) -> Number:
        """The whole number below."""
        return Number(virtualized.ops.floor(x.value), x.dtype)

    @staticmethod
    def ceil(x: Number) -> Number:
        """The whole number above."""
        return Number(virtualized.ops.ceil(x.value), x.dtype)

    @staticmethod
    def minimum(a: Number, b: Number) -> Number:
        """The smaller one."""
        return Number(virtualized.ops.minimum(a.value, b.value), a.dtype)

    @staticmethod
    def maximum(a: Number, b: Number) -> Number:
        """The larger one."""
        return Number(virtualized.ops.maximum(a.value, b.value), a.dtype)

    @staticmethod
    def cast(x: Number, dtype: torch.dtype) -> Number:
        """The same in another dtype."""
        return Number(virtualized.ops.to_dtype(x.value, dtype, src_dtype=x.dtype), dtype)


def tell(operator: Any, function: Callable[..., tuple[Any, ...]], dtypes: Sequence[torch.dtype]) -> None:
    """Tell the compiler how one entry of an operator's results is computed."""

    def lowered(*tensors: Any) -> Any:
        spread = broadcast_tensors(*tensors)
        loaders = [tensor.make_loader() for tensor in spread]
        given = [tensor.get_dtype() for tensor in spread]

        def entry(place: int) -> Callable[[Any], Any]:
            def inner(index: Any) -> Any:
                numbers = [Number(load(index), dtype) for load, dtype in zip(loaders, given, strict=True)]
                return function(Numbers, *numbers)[place].value

            return inner

        made = []
        for place, dtype in enumerate(dtypes):
            size, device = list(spread[0].get_size()), spread[0].get_device()
            box = ir.Pointwise.create(device=device, dtype=dtype, inner_fn=entry(place), ranges=size)
            box.realize()
            made.append(box)
        return made[0] if len(made) == 1 else tuple(made)

    register_lowering(operator, type_promotion_kind=None)(lowered)
