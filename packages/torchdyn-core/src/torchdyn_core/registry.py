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
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import EntryPoint
from typing import Any, NoReturn

from torchdyn_core.discovery import CORE, FIRST_PARTY, HOST, Plugin, State, discover, installed
from torchdyn_core.errors import OptionError, PluginError, PluginWarning, UnknownComponentError, close_matches
from torchdyn_core.loading import Unfinished, class_of, components_of, manifest_of
from torchdyn_core.plugin import INTERFACES, Component

__all__ = ["Registry", "configured", "default_registry"]

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


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
        self._lock = threading.Lock()  # held while a result is written down, never while anything is imported or asked
        self._loading: set[tuple[int, Plugin]] = set()
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
                where the plugin says it is, not of its kind, or abstract.
        """
        _check_words(kind, name)
        found = self._classes.get((kind, name))
        if found is None:
            found = self._classes.setdefault((kind, name), class_of(*self._find(kind, name)))
        return found

    def bearers(self, name: str) -> list[tuple[Plugin, Component]]:
        """The components of any kind that bear a full name, each with its plugin. Loads no plugin but the one it names.

        Raises:
            UnknownComponentError: If no plugin of that name is installed.
            PluginError: If it is broken, refused or left out.
        """
        plugin, bare = self._owner("component", name)
        return [(plugin, component) for component in plugin.components if component.name == bare]

    def names(self, kind: str) -> list[str]:
        """All names of a kind, core's first. Loads every plugin's manifest; says once which plugins are broken."""
        _check_words(kind, "")
        return [name for known, name in self.components() if known == kind]

    def components(self) -> dict[tuple[str, str], Component]:
        """All components by kind and name. Loads every plugin's manifest; says once which plugins are broken."""
        strict, plugins = self._strict, self._found()
        for plugin in plugins:
            self._load(plugin)
            if not plugin.problem or plugin.state is State.DISABLED:
                continue
            if strict:
                raise PluginError(plugin.problem) from plugin.cause
            with self._lock:
                unsaid, plugin.said = not plugin.said, True
            if unsaid:
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

    def _found(self) -> list[Plugin]:
        if self._plugins is None:
            plugins = discover(self._entry_points(), self._environ.get("TORCHDYN_PLUGINS"))
            with self._lock:
                if self._plugins is None:  # or another thread was faster, and may have loaded some of its own
                    self._plugins = plugins
        return self._plugins

    @property
    def _strict(self) -> bool:
        value = self._environ.get("TORCHDYN_STRICT_PLUGINS", "")
        word = value.strip().lower()
        if word not in _YES + _NO:
            raise OptionError(f"TORCHDYN_STRICT_PLUGINS={value!r}; wanted 1, true, yes, on, or 0, false, no, off")
        return word in _YES

    def _load(self, plugin: Plugin) -> None:
        """Import a plugin's manifest and ask for its components, once.

        A manifest that asks this registry for something while it is loaded finds everything but itself. No thread waits
        for another one here: it may hold the lock of a module that the other one has to import. Two threads may load
        one plugin side by side instead; the first to succeed is believed.
        """
        mine = threading.get_ident(), plugin
        if plugin.state is not State.FOUND or mine in self._loading:
            return
        assert plugin.entry_point is not None
        self._loading.add(mine)
        try:
            components = components_of(plugin.name, manifest_of(plugin.entry_point))
        except Unfinished:
            return  # somebody else imports its module just now; it is asked again when it is needed again
        except HOST:
            raise
        except BaseException as cause:  # whatever a stranger's module does, the host goes on
            problem = plugin.wording(f"failed to load from {plugin.entry_point.value!r}", cause)
            self._settle(plugin, State.FAILED, problem=problem, cause=cause)
        else:
            self._settle(plugin, State.LOADED, components=components)
        finally:
            self._loading.discard(mine)

    def _settle(
        self,
        plugin: Plugin,
        state: State,
        *,
        components: tuple[Component, ...] = (),
        problem: str = "",
        cause: BaseException | None = None,
    ) -> None:
        """Write down what loading came to, unless another thread's result stands that is as good."""
        with self._lock:
            if plugin.state in (state, State.LOADED):
                return
            plugin.components, plugin.problem, plugin.cause = components, problem, cause
            plugin.state = state  # the last: who sees a state without the lock sees what belongs to it

    def _find(self, kind: str, name: str) -> tuple[Plugin, Component]:
        """The plugin that a name belongs to, and its component. Loads the manifest of no other plugin, and no class."""
        plugin, bare = self._owner(kind, name)
        for component in plugin.components:
            if (component.kind, component.name) == (kind, bare):
                return plugin, component
        _refuse(kind, name, plugin, self._found() if plugin is self._core else [])

    def _owner(self, kind: str, name: str) -> tuple[Plugin, str]:
        """The plugin that a name belongs to, its manifest loaded, and the rest of the name."""
        prefix, dot, bare = name.rpartition(".")
        if not dot:
            return self._core, bare
        if prefix == CORE:
            known = {component.name for component in self._core.components}
            advice = f"wanted {bare!r}" if bare in known else "wanted a name" + close_matches(bare, known)
            raise UnknownComponentError(f"no {kind} is named {name!r}: core's names are bare; {advice}")
        candidates = [plugin for plugin in self._found() if plugin.name == prefix]
        for plugin in candidates:
            self._load(plugin)
            if plugin.state is State.LOADED:
                return plugin, bare
        if not candidates:
            self._refuse_prefix(kind, name, prefix)
        # whoever had a right to the name is to blame, not a stranger who was refused it
        plugin = min(candidates, key=lambda candidate: candidate.state is State.REFUSED)
        problem = plugin.problem or plugin.wording("asks for it while it is loaded itself")
        raise PluginError(f"{kind} {name!r} is not available: {problem}") from plugin.cause

    def _refuse_prefix(self, kind: str, name: str, prefix: str) -> NoReturn:
        """Say what there is instead of a plugin that is not installed."""
        if prefix in FIRST_PARTY:
            owner = FIRST_PARTY[prefix]
            raise UnknownComponentError(f"no {kind} is named {name!r}: {owner} is not installed; pip install {owner}")
        plugins = {plugin.name for plugin in self._found()}
        raise UnknownComponentError(
            f"no {kind} is named {name!r}: no plugin {prefix!r} is installed"
            + (close_matches(prefix, plugins) if plugins else "")
        )


def _check_words(kind: object, name: object) -> None:
    """Raise `UnknownComponentError` where a kind is none, or a name no string."""
    if not isinstance(kind, str) or kind not in INTERFACES:
        raise UnknownComponentError(f"no kind of component is named {kind!r}{close_matches(str(kind), INTERFACES)}")
    if not isinstance(name, str):
        raise UnknownComponentError(f"the name of a {kind} is {name!r}; wanted a string: 'dopri5', 'sde.srk'")


def _refuse(kind: str, name: str, owner: Plugin, others: list[Plugin]) -> NoReturn:
    """Say what there is instead of a name that nobody has."""
    own = [(component.kind, owner.full_name(component)) for component in owner.components]
    elsewhere = [known for known, full in own if full == name]
    if elsewhere:
        raise UnknownComponentError(f"{name!r} is of kind {elsewhere[0]!r}; wanted one of kind {kind!r}")
    # names that are known already: of plugins that nobody has asked for anything, no manifest is loaded for a hint
    known = [full for known, full in own if known == kind]
    known += [p.full_name(c) for p in others for c in p.components if c.kind == kind and p is not owner]
    hint = close_matches(name, known) if known else f"; there is no {kind} of core's"
    names = sorted(plugin.name for plugin in others if plugin is not owner)
    if names and "did you mean" not in hint:
        hint += f"; a plugin's come behind its name, {f'{names[0]}.{name}'!r}; there are plugins: " + ", ".join(names)
    raise UnknownComponentError(f"no {kind} is named {name!r}{hint}")


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
