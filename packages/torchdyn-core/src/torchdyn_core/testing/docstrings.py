"""Docstrings in this project's template: sections of known names in one order, and an example that runs."""

from __future__ import annotations

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

_HEADING = re.compile(r"^([A-Z][A-Za-z ]+):\s*\n(?=[ ]{4})", re.MULTILINE)  # a line of its own over an indented block
_NAMED = re.compile(r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*):", re.MULTILINE)


def docstring_problems(target: Any) -> list[str]:
    """What keeps a class's docstring from following the template; empty where nothing does.

    Example:
        >>> from torchdyn_core import PID
        >>> docstring_problems(PID)
        []
    """
    text = inspect.cleandoc(target.__doc__ or "")
    if not text:
        return ["has no docstring"]
    problems = []
    if not text.splitlines()[0].rstrip().endswith((".", ":")):
        problems.append("does not begin with a sentence on one line")
    headings = _HEADING.findall(f"{text}\n")
    if ">>>" not in _body(text, "Example"):
        problems.append("has no Example that runs")
    unknown = [name for name in headings if name not in SECTIONS]
    if unknown:
        problems.append(f"has sections named {unknown}; wanted names out of {list(SECTIONS)}")
    order = [SECTIONS.index(name) for name in headings if name in SECTIONS]
    if order != sorted(order):
        problems.append(f"has its sections in the order {headings}; wanted {sorted(headings, key=_place)}")
    documented = _section(text, "Arguments")
    missing = [name for name in _parameters(target) if name not in documented]
    if missing:
        problems.append(f"does not say what its arguments {missing} are")
    return problems


def _place(name: str) -> int:
    return SECTIONS.index(name) if name in SECTIONS else len(SECTIONS)


def _section(text: str, heading: str) -> set[str]:
    """Names that a section explains."""
    return {name.strip("* ") for group in _NAMED.findall(_body(text, heading)) for name in group.split(",")}


def _body(text: str, heading: str) -> str:
    """What stands in a section; empty where there is none."""
    _, found, rest = text.partition(f"\n{heading}:\n")
    return _HEADING.split(rest)[0] if found else ""


def _parameters(target: Any) -> list[str]:
    if isinstance(target, type) and "__init__" not in vars(target):
        return []
    return [name for name in inspect.signature(target).parameters if not name.startswith("_")]
