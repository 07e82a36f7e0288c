"""All that a plugin's author imports: what a component is, and the hook that hands components over.

A plugin is a distribution with one entry point in the group `torchdyn.v1`. Its name is the plugin's; its value a light
module that holds the hook:

    [project.entry-points."torchdyn.v1"]
    vanderpol = "torchdyn_vanderpol.plugin"
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pluggy

from torchdyn_core.errors import OptionError, close_matches

__all__ = ["GROUP", "INTERFACES", "OBJECTS", "Component", "hookimpl", "hookspec", "torchdyn_components"]

PROJECT = "torchdyn"

GROUP = "torchdyn.v1"
"""The entry-point group. Its number is the version of this page: another one is another contract."""

INTERFACES = {
    "field": "torchdyn_core.field:VectorField",
    "model": "torch.nn:Module",
    "layer": "torch.nn:Module",
    "solver": "torchdyn_core.solver:Solver",
    "controller": "torchdyn_core.controller:StepController",
    "adjoint": "torchdyn_core.adjoint:Adjoint",
    "augmentation": "torchdyn_core.neural_ode:Augmentation",
    "path": "torchdyn_core.path:Path",
    "dataset": "collections.abc:Callable",
}
"""The kinds of components, and what a component of each kind is a class of, or, for those in `OBJECTS`, is."""

OBJECTS = frozenset({"dataset"})
"""The kinds whose components are no classes: a function that makes data serves as it is."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Component:
    """A class (a dataset: anything callable) that users find by name. It is imported when it is asked for, not before.

    Arguments:
        kind: field, model, layer, solver, controller, adjoint, augmentation, path or dataset.
        name: Lower-case letters, digits and underscores. Users write `plugin.name`: the plugin's name is put before it.
        target: Where the class is: `package.module:Class`.
        summary: One line for listings.
        paper: Where it comes from: an arXiv number or a DOI.

    Raises:
        OptionError: If kind, name or target is not of this form.

    Example:
        >>> from torchdyn_core.plugin import Component
        >>> Component("solver", "srk", "torchdyn_sde.methods:SRK", paper="doi:10.1137/09076636X").name
        'srk'
    """

    kind: str
    name: str
    target: str
    summary: str = ""
    paper: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in INTERFACES:
            raise OptionError(f"kind={self.kind!r}{close_matches(str(self.kind), INTERFACES)}")
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise OptionError(f"name={self.name!r}; wanted lower-case letters, digits and underscores, as in 'dopri5'")
        if not isinstance(self.target, str) or not _TARGET.fullmatch(self.target):
            raise OptionError(f"target={self.target!r}; wanted 'package.module:Class'")
        for option, value in (("summary", self.summary), ("paper", self.paper)):
            if not isinstance(value, str) or "\n" in value:
                raise OptionError(f"{option}={value!r}; wanted one line of text")


def is_plugin_name(name: str) -> bool:
    """Whether a plugin may have this name: lower-case letters, digits and underscores."""
    return _NAME.fullmatch(name) is not None


@hookspec
def torchdyn_components() -> Sequence[Component]:  # type: ignore[empty-body]
    """The components that a plugin brings: at least one, the same ones at every call. Imports nothing heavy."""
