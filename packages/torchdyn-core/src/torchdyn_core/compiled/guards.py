"""Which of Dynamo's guards are asked for at every solve, and what it does not guard: methods of classes."""

from __future__ import annotations

import re
import types
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from torchdyn_core.tableau import ButcherTableau

__all__ = ["Guards"]

_ROOT = re.compile(r"G\['(\w+)'\]")
_LIBRARY = re.compile(
    r"__import_torchdyn_core_dot_(?!testing)"  # whose modules hold fields that tests change
    r"|__import_torch_dot__dynamo_dot_polyfills"  # Python that Dynamo runs in place of C
)
_TABLEAU = re.compile(
    r"(task\.solver\.tableau|dict\(type\(task\.solver\)(\.__mro__\[\d+\])?\.__dict__\)\['tableau'\])[.\[)]"
)
_FIXED = re.compile(r"(torch|torchdyn_core(?!\.testing)|builtins|abc|collections|typing)(\.|$)")
"""Modules whose classes have the methods that they were written with."""


class Guards:
    """What has to hold for a trace to be used again, beyond Dynamo's own bookkeeping.

    Given to `torch.compile` as a filter. Dynamo guards whatever a trace has read. Half of that is code of this library,
    and coefficients one by one: nothing that changes short of a patch to the library itself, and as much to ask for as
    a tenth of a short training step. On the other hand it takes methods for constants of their class; those of a field
    change where somebody sets `Field.forward`, or has a notebook reload what they are editing.

    Arguments:
        solver: The method. Its tableau, if that is immutable, is known by itself: captures are kept for one of them.
        names: Globals of the function that is traced.
    """

    def __init__(self, solver: Any, names: Mapping[str, Any]) -> None:
        tableau = getattr(solver, "tableau", None)
        self._constant = type(tableau) is ButcherTableau and _is_hashable(tableau)
        self._names = names
        self._classes = weakref.WeakKeyDictionary[type, _Methods]()

    def __call__(self, entries: Sequence[Any]) -> list[bool]:
        """Which guards to keep."""
        for entry in entries:
            # torch now builds guards a second time, and compares what they hold: tensors, if made anew, entry by entry
            entry.orig_guard.obj_weakref = None
            if entry.has_value:  # an object, or the class itself, as where a field calls a class method
                kind = entry.value if isinstance(entry.value, type) else type(entry.value)
                for owner in kind.__mro__:
                    if not _FIXED.match(owner.__module__) and owner not in self._classes:
                        self._classes[owner] = _Methods(owner)
        return [not self._is_settled(entry.name) for entry in entries]

    def stand(self) -> bool:
        """Whether all classes that a trace went through still have their methods."""
        return all(methods.are_those_of(owner) for owner, methods in self._classes.items())

    def _is_settled(self, name: str) -> bool:
        if self._constant and _TABLEAU.search(name):
            return True
        root = _ROOT.search(name)
        if root is None or "task." in name or "inputs." in name:
            return False
        found = self._names.get(root[1])
        owner = getattr(found, "__module__", None) or ""
        return bool(_LIBRARY.match(root[1])) or owner.startswith("torchdyn_core.") or _is_of_a_named_tuple(found)


class _Methods:
    """The functions of a class, and their codes, as they once were; keeps neither alive but the codes."""

    def __init__(self, owner: type) -> None:
        self._names, self._bases = frozenset(vars(owner)), owner.__mro__[1:]
        made = ((name, _functions(value)) for name, value in vars(owner).items())
        self._known = [
            (name, [(weakref.ref(f), f.__code__) for f in functions]) for name, functions in made if functions
        ]

    def are_those_of(self, owner: type) -> bool:
        """Whether a class has these methods, and no others."""
        held = vars(owner)
        if held.keys() != self._names or owner.__mro__[1:] != self._bases:
            return False
        for name, known in self._known:
            found = _functions(held[name])
            if len(found) != len(known):
                return False
            for function, (kept, code) in zip(found, known, strict=True):
                if function is not kept() or function.__code__ is not code:
                    return False
        return True


def _functions(value: Any) -> list[types.FunctionType]:
    """The functions that an entry of a class calls: its own, and those that it wraps."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    found: list[types.FunctionType] = []
    while isinstance(value, types.FunctionType) and value not in found:
        found.append(value)
        value = getattr(value, "__wrapped__", None)
    return found


def _is_of_a_named_tuple(names: Any) -> bool:
    """Whether globals are those in which the text of a NamedTuple's constructor is run."""
    return isinstance(names, dict) and "_tuple_new" in names and str(names.get("__name__")).startswith("namedtuple_")


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
