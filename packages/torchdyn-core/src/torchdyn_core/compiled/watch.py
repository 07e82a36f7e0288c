"""What a field may not do while it is evaluated: a look at every operator of a captured step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from torchdyn_core.errors import IncompatibleError

__all__ = ["Watch", "written"]


class Watch(TorchDispatchMode):
    """Refuses random numbers, and writing to what was there before."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given = {t.untyped_storage()._cdata for t in given}

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in function.tags:
            raise IncompatibleError(
                f"the field draws random numbers while it is evaluated ({function}); wanted it drawn once a solve "
                "(SolveDropout, or VectorField.begin), or the field in eval mode"
            )
        for value in written(function, args, kwargs or {}):
            if isinstance(value, Tensor) and value.untyped_storage()._cdata in self._given:
                raise IncompatibleError(f"the field writes to what it reads while it is evaluated ({function})")
        return function(*args, **(kwargs or {}))


def written(function: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """What an operator writes to: tensors, or the nodes that stand for them, by position, by name (`out=`), in lists.

    Example:
        >>> import torch
        >>> written(torch.ops.aten.add.out, ["a", "b"], {"out": "c"})
        ['c']
    """
    schema = getattr(function, "_schema", None)
    if schema is None or not schema.is_mutable:
        return []
    named = dict(zip((argument.name for argument in schema.arguments), args, strict=False)) | dict(kwargs)
    changed = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    values = [named[name] for name in changed if name in named]
    return [part for value in values for part in (value if isinstance(value, (list, tuple)) else [value])]
