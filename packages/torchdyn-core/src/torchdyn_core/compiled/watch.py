"""What a field may not do while it is evaluated: a look at every operator of a captured step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from torchdyn_core.errors import IncompatibleError

__all__ = ["Watch"]


class Watch(TorchDispatchMode):
    """Refuses random numbers, and writing to what was there before."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._given = {t.untyped_storage()._cdata for t in given}

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in function.tags:
            raise IncompatibleError(f"the field draws random numbers while it is evaluated ({function})")
        for argument, value in zip(function._schema.arguments, args, strict=False):
            info = argument.alias_info
            written = info is not None and info.is_write and isinstance(value, Tensor)
            if written and value.untyped_storage()._cdata in self._given:
                raise IncompatibleError(f"the field writes to what it reads while it is evaluated ({function})")
        return function(*args, **(kwargs or {}))
