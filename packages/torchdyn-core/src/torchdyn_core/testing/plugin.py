"""Whether a plugin is fit to be published."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from torchdyn_core.discovery import Plugin, State
from torchdyn_core.errors import PluginError
from torchdyn_core.registry import Registry, default_registry
from torchdyn_core.testing.docstrings import docstring_problems

__all__ = ["check_plugin"]

# What a manifest may bring along: the standard library and whatever core itself imports. Written to a file, since what
# strangers print is theirs: all the rest.
_IMPORTED = """
import importlib.metadata, json, sys
import torchdyn_core.plugin, torchdyn_core.registry
before = set(sys.modules)
point = importlib.metadata.EntryPoint("plugin", sys.argv[1], "torchdyn.v1")
torchdyn_core.registry.components_of("plugin", point.load())
new = {name.partition(".")[0] for name in set(sys.modules) - before}
known = {name.partition(".")[0] for name in before}
new -= known | set(sys.stdlib_module_names) | {point.module.partition(".")[0], "cython_runtime"}
with open(sys.argv[2], "w") as out:
    json.dump(sorted(name for name in new if not name.startswith("_")), out)
"""


def check_plugin(name: str, registry: Registry | None = None) -> None:
    """Check an installed plugin: it loads, lightly; its components are where and what it says; they are documented.

    Arguments:
        name: The plugin's name, as in its entry point.
        registry: Where to look it up. Default: the registry that `solve` uses.

    Raises:
        AssertionError: With all that was found, a line each.

    Example:
        >>> from torchdyn_core.testing import check_plugin
        >>> check_plugin("core")
    """
    registry = default_registry() if registry is None else registry
    plugins = [plugin for plugin in registry.report() if plugin.name == name]
    assert plugins, f"no plugin {name!r} is installed; there are {sorted(p.name for p in registry.report())}"
    problems = [problem for plugin in plugins for problem in _problems(plugin, registry)]
    assert not problems, f"plugin {name!r}:\n" + "\n".join(f"- {problem}" for problem in problems)


def _problems(plugin: Plugin, registry: Registry) -> list[str]:
    if plugin.state is not State.LOADED:
        return [plugin.problem]
    problems = []
    if plugin.entry_point is not None:
        problems += _weight(plugin.entry_point.value)
    for component in plugin.components:
        full = plugin.full_name(component)
        if not component.summary:
            problems.append(f"{component.kind} {full!r} has no summary")
        try:
            target = registry.get(component.kind, full)
        except PluginError as error:
            problems.append(str(error))
        else:
            problems += [f"{component.target} {problem}" for problem in docstring_problems(target)]
    return problems


def _weight(entry_point: str) -> list[str]:
    """What is wrong with a manifest that is loaded in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "imported.json"
        run = subprocess.run(
            [sys.executable, "-c", _IMPORTED, entry_point, str(answer)], capture_output=True, text=True, check=False
        )
        if run.returncode:
            return [f"its manifest does not load in a process of its own:\n{run.stderr.strip()}"]
        heavy = ", ".join(json.loads(answer.read_text()))
    if not heavy:
        return []
    return [
        f"its manifest {entry_point!r} imports {heavy}: import them in the module of the class that needs them, and "
        "let the package's __init__ be lazy"
    ]
