"""Whether a plugin is fit to be published."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from importlib.metadata import EntryPoint
from pathlib import Path

from torchdyn_core.discovery import Plugin, State
from torchdyn_core.errors import PluginError
from torchdyn_core.registry import Registry, default_registry
from torchdyn_core.testing.docstrings import docstring_problems

__all__ = ["check_plugin"]

# Loads the manifest as every user's process does, with no other plugin beside it. A manifest may bring along the
# standard library and whatever core itself imports; told is all the rest. Told in a file, for a plugin may print.
_LOAD = """
import json, sys
from importlib.metadata import EntryPoint
from torchdyn_core.discovery import Plugin
from torchdyn_core.registry import Registry

name, distribution, version, value, group, told = sys.argv[1:]
point = EntryPoint(name, value, group)
registry = Registry(lambda: [Plugin(name, distribution, point, version)], environ={})
before = set(sys.modules)
plugin = registry.report()[1]
known = {module.partition(".")[0] for module in before} | set(sys.stdlib_module_names)
known |= {point.module.partition(".")[0], "cython_runtime"}
new = {module.partition(".")[0] for module in set(sys.modules) - before} - known
with open(told, "w") as file:
    json.dump([plugin.problem, sorted(module for module in new if not module.startswith("_"))], file)
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
    problems = [] if plugin.entry_point is None else _manifest_problems(plugin, plugin.entry_point)
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


def _manifest_problems(plugin: Plugin, point: EntryPoint) -> list[str]:
    """What a process that has imported nothing but core meets when it loads the manifest."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told.json")
        facts = [plugin.name, plugin.distribution, plugin.version, point.value, point.group, str(told)]
        run = subprocess.run([sys.executable, "-c", _LOAD, *facts], capture_output=True, text=True, check=False)
        if not told.exists():
            said = run.stderr.strip() or run.stdout.strip()
            return [f"its manifest ends the process that loads it, with exit code {run.returncode}:\n{said}"]
        problem, heavy = json.loads(told.read_text())
    if problem:
        return [f"in a process of its own: {problem}"]
    if heavy:
        return [
            f"its manifest {point.value!r} imports {', '.join(heavy)}: import them in the module of the class that "
            "needs them, and let the package's __init__ be lazy"
        ]
    return []
