"""Which of Dynamo's guards are asked for at every solve: those of what may change while a process runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchdyn_core.tableau import ButcherTableau

__all__ = ["telling"]

_ROOT = re.compile(r"G\['(\w+)'\]")
_LIBRARY = re.compile(
    r"__import_torchdyn_core_dot_(?!testing)"  # whose modules hold fields that tests change
    r"|__import_torch_dot__dynamo_dot_polyfills"  # Python that Dynamo runs in place of C
    r"|___unnamed_scope"  # what the text of a NamedTuple's constructor is run in
)
_TABLEAU = re.compile(
    r"(task\.solver\.tableau|dict\(type\(task\.solver\)(\.__mro__\[\d+\])?\.__dict__\)\['tableau'\])[.\[)]"
)


def telling(solver: Any, names: Mapping[str, Any]) -> Callable[[Sequence[Any]], list[bool]]:
    """A filter of guards, for `torch.compile`.

    Dynamo guards whatever a trace has read. Half of that is code of this library, and coefficients one by one: nothing
    that changes short of a patch to the library itself, and as much to ask for as a tenth of a short training step.

    Arguments:
        solver: The method. Its tableau, if that is immutable, is known by itself: captures are kept for one of them.
        names: Globals of the function that is traced.
    """
    tableau = getattr(solver, "tableau", None)
    constant = type(tableau) is ButcherTableau and _is_hashable(tableau)

    def is_library(name: str) -> bool:
        root = _ROOT.search(name)
        if root is None or "task." in name or "inputs." in name:
            return False
        owner = getattr(names.get(root[1]), "__module__", None) or ""
        return bool(_LIBRARY.match(root[1])) or owner.startswith("torchdyn_core.")

    def keep(entries: Sequence[Any]) -> list[bool]:
        return [
            not (is_library(entry.name) or (constant and _TABLEAU.search(entry.name) is not None)) for entry in entries
        ]

    return keep


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
