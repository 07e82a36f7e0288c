"""Docstrings in this project's template: sections of known names in one order, and an example that runs."""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

__all__ = ["SECTIONS", "docstring_problems"]

SECTIONS = (
    "See also",
    "Arguments",
    "Attributes",
    "Shapes",
    "Returns",
    "Raises",
    "References",
    "Example",
)
"""Sections of a docstring in the order in which they stand; the empty ones are left out."""

# A section's name has one or two words on a line of its own, and its indented text right below: prose that ends in a
# colon has more words, or a blank line before what it announces.
_HEADING = re.compile(r"^([A-Z][a-z]+(?: [A-Za-z]+)?):[ \t]*\n(?=[ \t]+\S)", re.MULTILINE)
_NAMED = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)


def docstring_problems(target: Any) -> list[str]:
    """What keeps the docstring of a class or a function from following the template; empty where nothing does.

    Example:
        >>> from torchdyn_core import PID
        >>> docstring_problems(PID)
        []
    """
    text = _docstring(target)
    if not text:
        return ["has no docstring"]
    problems = []
    if not text.splitlines()[0].rstrip().endswith((".", ":")):
        problems.append("does not begin with a sentence on one line")
    _, *parts = _HEADING.split(text)
    headings, bodies = parts[::2], parts[1::2]
    sections = dict(zip(headings, bodies, strict=True))
    if ">>>" not in sections.get("Example", ""):
        problems.append("has no Example that runs: wanted a section of this name with lines that begin with >>>")
    unknown = [name for name in headings if name not in SECTIONS]
    if unknown:
        problems.append(f"has sections named {unknown}; wanted names out of {list(SECTIONS)}")
    known = [name for name in headings if name in SECTIONS]
    if known != sorted(known, key=SECTIONS.index):
        problems.append(f"has its sections in the order {known}; wanted {sorted(known, key=SECTIONS.index)}")
    documented = _names(sections.get("Arguments", ""))
    missing = [name for name in _parameters(target) if name not in documented]
    if missing:
        problems.append(f"does not say what its arguments {missing} are")
    return problems


def _docstring(target: Any) -> str:
    """What stands at the thing itself: a base's docstring speaks of the base."""
    while isinstance(target, functools.partial) and "__doc__" not in vars(target):
        target = target.func  # else `partial` would speak of itself
    return inspect.cleandoc(target.__doc__ or "")


def _names(section: str) -> set[str]:
    """Names that a section explains."""
    return {name.strip("* ") for group in _NAMED.findall(section) for name in group.split(",")}


def _parameters(target: Any) -> list[str]:
    if isinstance(target, type) and "__init__" not in vars(target):
        return []  # the base explains them
    try:
        signature = inspect.signature(target)
    except ValueError:  # some that are written in C have none
        return []
    return [name for name in signature.parameters if not name.startswith("_")]
