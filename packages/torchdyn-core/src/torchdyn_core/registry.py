"""The registry: components by name, from core and from whatever plugins are installed.

Three stages, each no earlier than needed: what the metadata of installed distributions says (no import), a plugin's
manifest (light), a component's class (heavy). A plugin that breaks at any of them is set aside with its reason, which
is given to whoever asks for one of its names; everybody else goes on.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint
from typing import Any, NoReturn

import pluggy

from torchdyn_core import plugin as specification
from torchdyn_core.discovery import CORE, FIRST_PARTY, Plugin, State, discover, installed
from torchdyn_core.errors import OptionError, PluginError, PluginWarning, UnknownComponentError, close_matches
from torchdyn_core.plugin import INTERFACES, PROJECT, Component

__all__ = ["Registry", "components_of", "configured", "default_registry"]


class Registry:
    """Components by kind and name.

    Core's components have bare names (`dopri5`), a plugin's bear its name (`sde.srk`). So a plugin cannot take
    another's name, and a name says which one plugin to import.

    Arguments:
        entry_points: Gives the entry points to look at. Default: those of all installed distributions.
        environ: Where `TORCHDYN_PLUGINS` (names of the plugins to use, with commas between; empty: none) and
            `TORCHDYN_STRICT_PLUGINS` (1: a broken plugin raises as soon as it is met) are read. Default: `os.environ`.

    Example:
        >>> from torchdyn_core.registry import default_registry
        >>> default_registry().get("solver", "dopri5").__name__
        'DormandPrince5'
    """

    def __init__(
        self,
        entry_points: Callable[[], Iterable[EntryPoint | Plugin]] = installed,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._entry_points = entry_points
        self._environ = os.environ if environ is None else environ
        # Held while the registry's own records are read or written, never while a stranger's code runs: that may
        # import, and a module that is being imported may ask the registry.
        self._settled = threading.Condition(threading.RLock())
        self._plugins: list[Plugin] | None = None
        self._classes: dict[tuple[str, str], Any] = {}
        version = importlib.import_module("torchdyn_core").__version__
        self._core = Plugin(CORE, FIRST_PARTY[CORE], None, version)
        self._core.components = components_of(CORE, importlib.import_module("torchdyn_core.builtin"))
        self._core.state = State.LOADED

    def get(self, kind: str, name: str) -> Any:
        """The class of a component.

        Raises:
            UnknownComponentError: If no component of this kind has this name; close matches are named.
            PluginError: If the plugin that the name belongs to is broken, refused or left out, or the class is not
                where the plugin says it is, or not of its kind.
        """
        _check_words(kind, name)
        found = self._classes.get((kind, name))
        if found is None:
            plugin, component = self._find(kind, name)
            found = self._classes.setdefault((kind, name), _imported(plugin, component))
        return found

    def names(self, kind: str) -> list[str]:
        """All names of a kind, core's first. Loads every plugin's manifest; says once which plugins are broken."""
        _check_words(kind, "")
        return [name for known, name in self.components() if known == kind]

    def components(self) -> dict[tuple[str, str], Component]:
        """All components by kind and name. Loads every plugin's manifest; says once which plugins are broken."""
        plugins = self._found()
        for plugin in plugins:
            self._load(plugin)
            self._raise_if_strict(plugin)
        for plugin in plugins:
            if plugin.problem and plugin.state is not State.DISABLED and not plugin.said:
                plugin.said = True
                warnings.warn(plugin.problem, PluginWarning, stacklevel=3)
        return {
            (component.kind, plugin.full_name(component)): component
            for plugin in [self._core, *plugins]
            for component in plugin.components
        }

    def report(self) -> list[Plugin]:
        """Every plugin that is installed, with its state and what is wrong with it; core first. Never raises."""
        plugins = self._found()
        for plugin in plugins:
            self._load(plugin)
        return [self._core, *plugins]

    def bearers(self, name: str) -> list[tuple[Plugin, Component]]:
        """The components of any kind that bear a full name, each with its plugin. Loads no plugin but the one it names.

        Raises:
            UnknownComponentError: If no plugin of that name is installed.
            PluginError: If it is broken.
        """
        prefix, dot, bare = name.rpartition(".")
        plugin = self._plugin("component", name, prefix) if dot else self._core
        return [(plugin, component) for component in plugin.components if component.name == bare]

    def _found(self) -> list[Plugin]:
        with self._settled:
            if self._plugins is None:
                self._plugins = discover(self._entry_points(), self._environ.get("TORCHDYN_PLUGINS"))
            return self._plugins

    @property
    def _strict(self) -> bool:
        value = self._environ.get("TORCHDYN_STRICT_PLUGINS", "")
        switch = _SWITCHES.get(value.strip().lower())
        if switch is None:
            raise OptionError(f"TORCHDYN_STRICT_PLUGINS={value!r}; wanted 1, true, yes, on, or 0, false, no, off")
        return switch

    def _load(self, plugin: Plugin) -> None:
        """Import a plugin's manifest and ask for its components, once."""
        with self._settled:
            while plugin.state is State.LOADING:
                # a manifest may ask the registry while it is being loaded: it sees all others
                if plugin.loader == threading.get_ident() or not self._settled.wait(_PATIENCE):
                    return
            if plugin.state is not State.FOUND:
                return
            plugin.state, plugin.loader = State.LOADING, threading.get_ident()
        assert plugin.entry_point is not None
        components: tuple[Component, ...] = ()
        failure: BaseException | None = None
        try:
            components = components_of(plugin.name, plugin.entry_point.load())
        except (KeyboardInterrupt, GeneratorExit):  # the user's or the interpreter's: not the plugin's doing
            with self._settled:
                plugin.state = State.FOUND
                self._settled.notify_all()
            raise
        except BaseException as cause:  # whatever a stranger's module does, the host goes on: panics are not Exceptions
            failure = cause
        with self._settled:
            plugin.components, plugin.state = components, State.LOADED
            if failure is not None:
                plugin.fail(State.FAILED, f"failed to load from {plugin.entry_point.value!r}", failure)
            self._settled.notify_all()

    def _find(self, kind: str, name: str) -> tuple[Plugin, Component]:
        """The plugin that a name belongs to, and its component; imports no other plugin."""
        prefix, dot, bare = name.rpartition(".")
        plugin = self._core
        if dot:
            plugin = self._plugin(kind, name, prefix)
        for component in plugin.components:
            if (component.kind, component.name) == (kind, bare):
                return plugin, component
        _refuse(kind, name, [plugin], self._found() if not dot and self._plugins is not None else [])

    def _plugin(self, kind: str, name: str, prefix: str) -> Plugin:
        """The plugin of this name, its manifest loaded."""
        candidates = [plugin for plugin in self._found() if plugin.name == prefix]
        for plugin in candidates:
            self._load(plugin)
            if plugin.state is State.LOADED:
                return plugin
        if candidates:
            plugin = candidates[0]
            raise PluginError(f"{kind} {name!r} is not available: {plugin.problem}") from plugin.cause
        if prefix == CORE:
            bare = name.removeprefix(f"{CORE}.")
            raise UnknownComponentError(f"no {kind} is named {name!r}: core's names are bare; wanted {bare!r}")
        if prefix in FIRST_PARTY:
            owner = FIRST_PARTY[prefix]
            raise UnknownComponentError(f"no {kind} is named {name!r}: {owner} is not installed; pip install {owner}")
        plugins = {plugin.name for plugin in self._found()}
        raise UnknownComponentError(
            f"no {kind} is named {name!r}: no plugin {prefix!r} is installed"
            + (close_matches(prefix, plugins) if plugins else "")
        )

    def _raise_if_strict(self, plugin: Plugin) -> None:
        if self._strict and plugin.problem and plugin.state is not State.DISABLED:
            raise PluginError(plugin.problem) from plugin.cause


_PATIENCE = 30.0
"""Seconds to wait for another thread that loads a plugin: it may be waiting for a module that this one imports."""

_SWITCHES = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("", "0", "false", "no", "off"), False),
}


def components_of(name: str, manifest: object) -> tuple[Component, ...]:
    """The components that a manifest hands over, through the one hook.

    A manager of its own for each plugin: what one does to it, or leaves in it half done, concerns nobody else.
    """
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(specification)
    manager.register(manifest, name)
    manager.check_pending()  # a misspelt hook is an error here
    answers = manager.hook.torchdyn_components()
    if not answers:
        raise PluginError("it has no hook torchdyn_components: is @hookimpl missing?")
    if len(answers) > 1:
        raise PluginError(f"it has {len(answers)} hooks torchdyn_components; wanted one that returns all components")
    (components,) = answers
    if not isinstance(components, (tuple, list)) or not all(isinstance(c, Component) for c in components):
        raise PluginError(f"torchdyn_components() returned {components!r}; wanted a tuple of Component(...)")
    if not components:
        raise PluginError("torchdyn_components() returned no component")
    for (kind, bare), times in Counter((c.kind, c.name) for c in components).items():
        if times > 1:
            raise PluginError(f"torchdyn_components() returned {times} components for {kind} {bare!r}")
    return tuple(components)


def _check_words(kind: object, name: object) -> None:
    """Raise `UnknownComponentError` where a kind is none, or a name no string."""
    if not isinstance(kind, str) or kind not in INTERFACES:
        raise UnknownComponentError(f"no kind of component is named {kind!r}{close_matches(str(kind), INTERFACES)}")
    if not isinstance(name, str):
        raise UnknownComponentError(f"the name of a {kind} is {name!r}; wanted a string: 'dopri5', 'sde.srk'")


def _refuse(kind: str, name: str, plugins: list[Plugin], others: list[Plugin]) -> NoReturn:
    """Say what there is instead of a name that nobody has."""
    own = [(c.kind, plugin.full_name(c)) for plugin in plugins for c in plugin.components]
    elsewhere = [known for known, full in own if full == name]
    if elsewhere:
        raise UnknownComponentError(f"{name!r} is of kind {elsewhere[0]!r}; wanted one of kind {kind!r}")
    known = [full for known, full in own if known == kind]
    bare = [p.full_name(c) for p in others for c in p.components if (c.kind, c.name) == (kind, name)]
    hint = f"; did you mean {bare[0]!r}?" if bare else close_matches(name, known) if known else f"; there is no {kind}"
    raise UnknownComponentError(f"no {kind} is named {name!r}{hint}")


def _imported(plugin: Plugin, component: Component) -> Any:
    """A component's class, checked to be of its kind."""
    full, (module, _, attribute) = plugin.full_name(component), component.target.partition(":")
    try:
        target = getattr(importlib.import_module(module), attribute)
        problem = _misfit(component.kind, target)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as cause:  # as in a manifest
        raise PluginError(
            f"{component.kind} {full!r} of {plugin.origin} could not be imported from {component.target!r}: "
            f"{type(cause).__name__}: {cause}. {plugin.remedy(cause)}"
        ) from cause
    if problem:
        raise PluginError(f"{component.kind} {full!r} of {plugin.origin} {problem}. {plugin.remedy(None)}")
    return target


def _misfit(kind: str, target: Any) -> str:
    """Why an object is no component of a kind; empty where it is one."""
    where, _, name = INTERFACES[kind].partition(":")
    wanted = getattr(importlib.import_module(where), name)
    if kind == "dataset":  # a function serves as well as a class
        return "" if isinstance(target, wanted) else f"is {target!r}; wanted something callable"
    if not (isinstance(target, type) and issubclass(target, wanted)):
        return f"is {target!r}; wanted a class of kind {name}"
    missing = sorted(getattr(target, "__abstractmethods__", ()))
    return f"is abstract: it lacks {', '.join(missing)}" if missing else ""


@functools.cache
def default_registry() -> Registry:
    """The registry that `solve`, `NeuralODE` and the command line use."""
    return Registry()


def configured(kind: str, part: Any) -> Any:
    """A component by its name, with its default options; what is no name passes through.

    Raises:
        UnknownComponentError: If no component of this kind has this name.
        PluginError: If it is there and broken.
        OptionError: If it has options without a default.
    """
    if not isinstance(part, str):
        return part
    component = default_registry().get(kind, part)
    try:
        return component()
    except TypeError:
        if not (needed := _options_without_default(component)):
            raise
    call = f"{component.__name__}({', '.join(f'{name}=...' for name in needed)})"
    raise OptionError(f"{kind} {part!r} has no default for {', '.join(needed)}; wanted {kind}={call}")


def _options_without_default(component: type) -> list[str]:
    return [
        option.name
        for option in inspect.signature(component).parameters.values()
        if option.default is option.empty and option.kind not in (option.VAR_POSITIONAL, option.VAR_KEYWORD)
    ]
