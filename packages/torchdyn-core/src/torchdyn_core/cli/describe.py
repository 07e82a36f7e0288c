"""What there is to know about one component."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass, field
from typing import Any

from torchdyn_core.registry import default_registry

__all__ = ["Description", "describe", "spoken"]

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

    def facts(self) -> dict[str, str]:
        """Labels and values, for people."""
        said = {"kind": self.kind, "call": self.call, "from": f"{self.target} ({self.distribution})"}
        said |= {_FACTS[fact]: spoken(value) for fact, value in self.properties.items()}
        if self.paper:
            said["paper"] = self.paper
        return said


def describe(kind: str, name: str) -> Description:
    """Look a component up and describe it.

    Raises:
        UnknownComponentError: If there is none of this name.
        PluginError: If it is there and broken.
    """
    registry = default_registry()
    target = registry.get(kind, name)
    plugin, component = next(pair for pair in registry.bearers(name) if pair[1].kind == kind)
    try:
        options = [_option(parameter) for parameter in inspect.signature(target).parameters.values()]
    except ValueError:  # a builtin, which does not tell
        options = []
    called = getattr(target, "__name__", type(target).__name__)
    return Description(
        name=name,
        kind=kind,
        summary=component.summary,
        paper=component.paper,
        target=component.target,
        distribution=plugin.origin,
        call=f"{called}({', '.join(option['name'] for option in options)})",
        options=options,
        properties={fact: getattr(target, fact) for fact in _FACTS if _is_plain(getattr(target, fact, None))},
        docstring=inspect.getdoc(target) or "",
    )


def spoken(value: object) -> str:
    """A value for people."""
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _option(parameter: inspect.Parameter) -> dict[str, str]:
    empty = parameter.empty
    return {
        "name": str(parameter).partition(":")[0].partition("=")[0].strip(),
        "type": "" if parameter.annotation is empty else inspect.formatannotation(parameter.annotation).strip("'"),
        "default": "" if parameter.default is empty else " ".join(repr(parameter.default).split()),
    }


def _is_plain(value: object) -> bool:
    return isinstance(value, (bool, int, str))
