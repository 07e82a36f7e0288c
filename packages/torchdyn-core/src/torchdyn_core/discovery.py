"""Which plugins are installed, from the metadata of distributions alone: nothing of theirs is imported here."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from torchdyn_core.plugin import GROUP, Component, is_plugin_name

__all__ = ["CORE", "FIRST_PARTY", "Plugin", "State", "discover", "installed"]

CORE = "core"

FIRST_PARTY = {
    name: f"torchdyn-{name}"
    for name in (CORE, "augment", "graph", "sde", "hamiltonian", "recurrent", "flow", "lightning", "datasets")
}
"""Names that belong to this project's own distributions."""

_ANY_VERSION = "torchdyn.v"


class State(enum.StrEnum):
    """How far a plugin has come."""

    FOUND = "found"
    LOADING = "loading"
    LOADED = "loaded"
    FAILED = "failed"
    REFUSED = "refused"
    INCOMPATIBLE = "incompatible"
    DISABLED = "disabled"
    MISSING = "missing"


@dataclass(eq=False)
class Plugin:
    """An installed plugin.

    Arguments:
        name: Its name: what stands before the dot in the names of its components.
        distribution: The distribution that brings it, as `pip` knows it.
        entry_point: Where its manifest is; None for core.
        version: The distribution's version.
        state: How far it has come.
        problem: What is wrong with it, and what to do; empty where nothing is.
        cause: The exception behind the problem.
        components: What it brings, once its manifest is loaded.
        said: Whether the problem has been warned of.
        loader: The thread that loads it, or did.
    """

    name: str
    distribution: str
    entry_point: EntryPoint | None
    version: str = ""
    state: State = State.FOUND
    problem: str = ""
    cause: BaseException | None = None
    components: tuple[Component, ...] = ()
    said: bool = field(default=False, repr=False)
    loader: int = field(default=0, repr=False)

    @property
    def origin(self) -> str:
        """The distribution and its version."""
        return f"{self.distribution} {self.version}".strip()

    def full_name(self, component: Component) -> str:
        """The name by which users know a component of this plugin."""
        return component.name if self.name == CORE else f"{self.name}.{component.name}"

    def fail(self, state: State, sentence: str, cause: BaseException | None = None) -> None:
        """Set the plugin aside, with the reason."""
        reason = "" if cause is None else f": {type(cause).__name__}: {cause}. {self.remedy(cause)}"
        self.state, self.cause = state, cause
        self.problem = f"plugin {self.name!r} of {self.origin} {sentence}{reason}"

    def remedy(self, cause: BaseException | None) -> str:
        """What a user can do about a broken plugin."""
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            missing = cause.name.partition(".")[0]
            return f"Install {missing!r}, which it needs, or uninstall {self.distribution}."
        return f"Upgrade or uninstall {self.distribution}, and tell its authors."


def installed() -> Iterator[EntryPoint | Plugin]:
    """Entry points in any version of the plugin group; in place of those that cannot be read, plugins that failed."""
    for distribution in distributions():
        try:
            text = distribution.read_text("entry_points.txt") or ""
        except Exception:  # not even text: nothing of ours, whoever's it is
            continue
        # reading the text first keeps a distribution that has nothing to do with us, and is broken, out of the way
        if _ANY_VERSION not in text:
            continue
        try:
            yield from list(distribution.entry_points)
        except Exception as cause:  # whatever stands there, the other distributions are not to blame
            name, version = _identity(distribution)
            unreadable = Plugin(_normalised(name).removeprefix("torchdyn-").replace("-", "_"), name, None, version)
            unreadable.fail(State.FAILED, "has entry points that cannot be read", cause)
            yield unreadable


def discover(entry_points: Iterable[EntryPoint | Plugin], selection: str | None) -> list[Plugin]:
    """Sort entry points into plugins to use and plugins to leave alone.

    Arguments:
        entry_points: Entry points of any group, each of which knows its distribution; plugins are taken as they are.
        selection: Names of the plugins to use, with commas between; None for all.
    """
    current: dict[tuple[str, str], Plugin] = {}
    foreign: dict[tuple[str, str], Plugin] = {}
    for point in entry_points:
        if isinstance(point, Plugin):
            current[point.name, _normalised(point.distribution)] = point
            continue
        if not point.group.startswith(_ANY_VERSION):
            continue
        plugin = _plugin(point)
        known = current if point.group == GROUP else foreign
        # the first of a name on the path is the one that Python imports: an editable install may be listed twice
        known.setdefault((plugin.name, _normalised(plugin.distribution)), plugin)
    for key, plugin in foreign.items():
        if key not in current:
            group = "" if plugin.entry_point is None else plugin.entry_point.group
            plugin.fail(
                State.INCOMPATIBLE,
                f"is made for {group}, and this torchdyn-core speaks {GROUP}: install versions that fit each other",
            )
            current[key] = plugin
    plugins = sorted(current.values(), key=lambda plugin: (plugin.name, plugin.distribution))
    _refuse_names(plugins)
    if selection is not None:
        plugins += _select(plugins, [name for part in selection.split(",") if (name := part.strip())])
    return plugins


def _plugin(point: EntryPoint) -> Plugin:
    distribution: Distribution | None = point.dist
    name, version = ("an unknown distribution", "") if distribution is None else _identity(distribution)
    return Plugin(point.name, name, point, version)


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Name and version, also where the metadata lack them or cannot be read."""
    try:
        metadata: Any = distribution.metadata  # a message; its protocol leaves `get` out
    except Exception:
        return "a distribution with unreadable metadata", ""
    return metadata.get("Name", "an unknown distribution"), metadata.get("Version", "")


def _normalised(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _refuse_names(plugins: list[Plugin]) -> None:
    """Refuse ill-formed names, reserved names in strangers' hands, and names that two distributions claim."""
    sound: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        owner = FIRST_PARTY.get(plugin.name)
        if plugin.state is not State.FOUND:
            continue
        if not is_plugin_name(plugin.name):
            plugin.fail(State.REFUSED, "is refused: a plugin's name is lower-case letters, digits and underscores")
        elif owner is not None and _normalised(plugin.distribution) != owner:
            plugin.fail(State.REFUSED, f"is refused: its name is reserved to {owner}. Uninstall {plugin.distribution}")
        else:
            sound.setdefault(plugin.name, []).append(plugin)
    for twins in sound.values():
        for plugin in twins if len(twins) > 1 else ():
            others = " and ".join(twin.origin for twin in twins if twin is not plugin)
            plugin.fail(State.REFUSED, f"is refused: {others} has a plugin of this name too. Uninstall one of them")


def _select(plugins: list[Plugin], names: list[str]) -> list[Plugin]:
    """Leave out what is not selected; the selected names that nobody has."""
    for plugin in plugins:
        if plugin.name not in names:
            plugin.fail(State.DISABLED, "is left out by TORCHDYN_PLUGINS")
    absent = [Plugin(name, "", None) for name in names if name not in {p.name for p in plugins} | {CORE}]
    for plugin in absent:
        plugin.state = State.MISSING
        plugin.problem = f"TORCHDYN_PLUGINS names {plugin.name!r}, and no such plugin is installed"
    return absent
