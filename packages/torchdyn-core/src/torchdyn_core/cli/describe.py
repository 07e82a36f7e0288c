"""What there is to know about one component."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from torchdyn_core.errors import UnknownComponentError, close_matches
from torchdyn_core.registry import default_registry

__all__ = ["Description", "describe", "kind_of"]

_FACTS = {
    "order": "order",
    "dense_order": "dense order",
    "has_error_estimate": "step control",
    "reversible": "reversible",
    "adaptive": "adaptive",
}


@dataclass(frozen=True)
class Description:
    """A component as the command line shows it.

    Arguments:
        name: Its full name.
        kind: Its kind.
        summary: One line.
        paper: Where it is from.
        target: Where its class is.
        distribution: What brings it, with the version.
        call: How it is called.
        options: Its options: name, annotation and default.
        properties: What it declares of itself: order, dense order, and so on.
        docstring: The whole docstring.
    """

    name: str
    kind: str
    summary: str
    paper: str
    target: str
    distribution: str
    call: str
    options: list[dict[str, str]] = field(default_factory=list)
    properties: dict[str, Any] = field(default_factory=dict)
    docstring: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def facts(self) -> dict[str, object]:
        """Labels and values, for people."""
        said: dict[str, object] = {
            "kind": self.kind,
            "call": self.call,
            "from": f"{self.target} ({self.distribution})",
            **{_FACTS[name]: value for name, value in self.properties.items()},
        }
        return {**said, "paper": self.paper} if self.paper else said


def kind_of(name: str) -> str:
    """The kind of a component that is asked for by name alone.

    Raises:
        UnknownComponentError: If there is none of this name, or there are several.
        PluginError: If the plugin that the name belongs to is broken.
    """
    kinds = [component.kind for _, component in default_registry().bearers(name)]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise UnknownComponentError(f"{name!r} is of kinds {', '.join(kinds)}; wanted --kind with one of them")
    names = {plugin.full_name(component) for plugin in default_registry().report() for component in plugin.components}
    raise UnknownComponentError(f"nothing is named {name!r}{close_matches(name, names)}")


def describe(kind: str, name: str) -> Description:
    """Look a component up and describe it.

    Raises:
        UnknownComponentError: If there is none of this name.
        PluginError: If it is there and broken.
    """
    registry = default_registry()
    target = registry.get(kind, name)
    owner, component = next(pair for pair in registry.bearers(name) if pair[1].kind == kind)
    signature = _signature(target)
    options = [] if signature is None else [_option(parameter) for parameter in signature.parameters.values()]
    arguments = "..." if signature is None else ", ".join(option["name"] for option in options)
    return Description(
        name=name,
        kind=kind,
        summary=component.summary,
        paper=component.paper,
        target=component.target,
        distribution=owner.origin,
        call=f"{component.target.partition(':')[2]}({arguments})",
        options=options,
        properties={fact: getattr(target, fact) for fact in _FACTS if _is_plain(getattr(target, fact, None))},
        docstring=_docstring(target),
    )


def _signature(target: Any) -> inspect.Signature | None:
    """How it is called; None where it cannot tell: it is written in C, or annotated with what is not there."""
    try:
        return inspect.signature(target)
    except Exception:
        return None


def _docstring(target: Any) -> str:
    while isinstance(target, functools.partial) and "__doc__" not in vars(target):
        target = target.func  # else `partial` would speak of itself
    return inspect.getdoc(target) or ""


def _option(parameter: inspect.Parameter) -> dict[str, str]:
    empty = parameter.empty
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    return {
        "name": stars.get(parameter.kind.name, "") + parameter.name,
        "type": "" if parameter.annotation is empty else _in_one_line(_annotation, parameter.annotation),
        "default": "" if parameter.default is empty else _in_one_line(repr, parameter.default),
    }


def _annotation(annotation: object) -> str:
    return inspect.formatannotation(annotation).strip("'")


def _in_one_line(form: Callable[[object], str], value: object) -> str:
    """An object in words, whatever class of a stranger's it is of: arrays have several lines, some objects none."""
    try:
        text = form(value)
    except Exception:
        text = object.__repr__(value)
    return re.sub(r"\s*\n\s*", " ", text)


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, str))
