"""Long elementwise functions, written once for tensors and for the compiler's own numbers.

What a compiler is given as a graph of tensor operations it inlines anew for every use of every intermediate value, so
that twenty rounds in which each value is used twice take it forever. A function of this kind is one operator instead,
and the compiler is told how one entry of its results is computed: value by value, each of them once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.tracing import tracing

__all__ = ["Elementwise", "Tensors"]

_LIBRARY = torch.library.Library("torchdyn_sde", "DEF")


class Tensors:
    """The functions that such a function is written with, beside operators, for tensors."""

    select = staticmethod(torch.where)
    sqrt = staticmethod(torch.sqrt)
    log = staticmethod(torch.log)
    floor = staticmethod(torch.floor)
    ceil = staticmethod(torch.ceil)
    minimum = staticmethod(torch.minimum)
    maximum = staticmethod(torch.maximum)

    @staticmethod
    def cast(x: Tensor, dtype: torch.dtype) -> Tensor:
        """The same numbers in another dtype."""
        return x.to(dtype)


class Elementwise:
    """An elementwise function of tensors that broadcast, as one operator to compilers.

    Arguments:
        name: Of the operator.
        function: Takes what functions it may use (`Tensors`, or the compiler's own), and the arguments, and returns a
            tuple. Arguments are added, compared, shifted and so on with Python's operators, among themselves where they
            have one dtype, and with Python numbers.
        arguments: How many there are.
        dtypes: Of the results.

    Example:
        >>> import torch
        >>> from torchdyn_sde.elementwise import Elementwise
        >>> root = Elementwise("example_root", lambda m, x: (m.sqrt(x * x + 1.0),), 1, [torch.float32])
        >>> root(torch.tensor([0.0, 2.0]))[0].square().round(decimals=3).tolist()
        [1.0, 5.0]
    """

    def __init__(
        self, name: str, function: Callable[..., tuple[Any, ...]], arguments: int, dtypes: Sequence[torch.dtype]
    ) -> None:
        self.function, self.dtypes = function, tuple(dtypes)
        inputs = ", ".join(f"Tensor x{place}" for place in range(arguments))
        _LIBRARY.define(f"{name}({inputs}) -> ({', '.join('Tensor' for _ in dtypes)})")
        _LIBRARY.impl(name, self._plain, "CompositeExplicitAutograd")
        torch.library.register_fake(f"torchdyn_sde::{name}", self._shapes, lib=_LIBRARY)
        self.operator = getattr(torch.ops.torchdyn_sde, name).default
        self._told = False

    def __call__(self, *arguments: Tensor) -> tuple[Any, ...]:
        """The results."""
        if tracing():
            made = self.operator(*arguments)
            return (made,) if len(self.dtypes) == 1 else tuple(made)
        return self._eager(*arguments)

    def _eager(self, *arguments: Tensor) -> tuple[Any, ...]:
        made = self.function(Tensors, *arguments)
        shape = torch.broadcast_shapes(*(argument.shape for argument in arguments))
        return tuple(result.expand(shape) for result in made)

    def _plain(self, *arguments: Tensor) -> Any:
        """The results as operators return them: a lone one by itself."""
        made = self._eager(*arguments)
        return made[0] if len(made) == 1 else made

    def _shapes(self, *arguments: Tensor) -> Any:
        if not self._told and "torch._inductor" in sys.modules:  # somebody compiles: tell the compiler
            from torchdyn_sde.lowering import tell

            tell(self.operator, self.function, self.dtypes)
            self._told = True
        shape = torch.broadcast_shapes(*(argument.shape for argument in arguments))
        made = tuple(arguments[0].new_empty(shape, dtype=dtype) for dtype in self.dtypes)
        return made[0] if len(made) == 1 else made
