"""A plugin's own code is run here and nowhere else: its manifest, its hook, the modules of its classes.

Nothing is remembered and no lock is held, so whatever a stranger's module does (fail, ask this registry for something,
import what another thread is importing) concerns the caller of these functions alone.
"""

from __future__ import annotations

import functools
import importlib
from collections import Counter
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from torchdyn_core import plugin as specification
from torchdyn_core.discovery import HOST, Plugin, in_words, shown
from torchdyn_core.errors import PluginError
from torchdyn_core.plugin import INTERFACES, OBJECTS, PROJECT, Component

__all__ = ["Unfinished", "class_of", "components_of", "manifest_of"]


class Unfinished(Exception):
    """A manifest is asked for by its own module, while that is imported."""


def manifest_of(point: EntryPoint) -> object:
    """The module or object that an entry point names.

    Raises:
        Unfinished: If whoever asks is a part of its import: the module is there, but not what it will define.
    """
    module = importlib.import_module(point.module)
    if getattr(getattr(module, "__spec__", None), "_initializing", False):
        raise Unfinished
    return functools.reduce(getattr, filter(None, (point.attr or "").split(".")), module)


def components_of(name: str, manifest: object) -> tuple[Component, ...]:
    """What a manifest's hook hands over.

    Raises:
        PluginError: If there is not exactly one hook, or it returns something else than components.
        pluggy.PluginValidationError: If the hook has a wrong name or takes arguments.
    """
    manager = pluggy.PluginManager(PROJECT)  # of its own: what is registered half way troubles no other plugin
    manager.add_hookspecs(specification)
    manager.register(manifest, name)
    manager.check_pending()  # a misspelt hook is an error
    hooks = manager.hook.torchdyn_components.get_hookimpls()
    if not hooks:
        raise PluginError("it has no hook torchdyn_components: is @hookimpl missing?")
    if len(hooks) > 1:
        raise PluginError(f"it has {len(hooks)} hooks torchdyn_components; wanted one that returns all components")
    components = hooks[0].function()
    if not isinstance(components, (tuple, list)) or not all(isinstance(c, Component) for c in components):
        raise PluginError(f"torchdyn_components() returned {shown(components)}; wanted a tuple of Component(...)")
    if not components:
        raise PluginError("torchdyn_components() returned no component")
    for (kind, bare), times in Counter((c.kind, c.name) for c in components).items():
        if times > 1:
            raise PluginError(f"torchdyn_components() returned {times} components for {kind} {bare!r}")
    return tuple(components)


def class_of(plugin: Plugin, component: Component) -> Any:
    """A component's class, checked to be of its kind.

    Raises:
        PluginError: If it is not where the plugin says it is, not of its kind, or abstract.
    """
    what = f"{component.kind} {plugin.full_name(component)!r} of {plugin.origin}"
    module, _, attribute = component.target.partition(":")
    try:
        target = getattr(importlib.import_module(module), attribute)
        complaint = _complaint(component.kind, target)
    except HOST:
        raise
    except BaseException as cause:
        raise PluginError(
            f"{what} could not be imported from {component.target!r}: {in_words(cause)}. {plugin.remedy(cause)}"
        ) from cause
    if complaint:
        raise PluginError(f"{what} {complaint}. {plugin.remedy(None)}")
    return target


def _complaint(kind: str, target: Any) -> str:
    """What keeps an object from being a component of a kind; empty where nothing does."""
    where, _, interface = INTERFACES[kind].partition(":")
    wanted = getattr(importlib.import_module(where), interface)
    if kind in OBJECTS:
        return "" if isinstance(target, wanted) else f"is {shown(target)}; wanted something callable"
    if not (isinstance(target, type) and issubclass(target, wanted)):
        return f"is {shown(target)}; wanted a class of kind {interface}"
    missing = sorted(getattr(target, "__abstractmethods__", ()))
    return f"is abstract: it lacks {', '.join(missing)}" if missing else ""
