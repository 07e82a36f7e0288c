"""All packages of the repository in one environment, with a stranger's plugin among them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from torchdyn_core.discovery import State
from torchdyn_core.registry import Registry
from torchdyn_core.testing import check_plugin

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.name.replace("-", "_") for path in (ROOT / "packages").iterdir() if path.is_dir())
REGISTRY = Registry()

HEAVY = (
    "dgl", "torch_geometric", "torchsde", "torchdiffeq", "pytorch_lightning", "lightning", "matplotlib", "pandas",
    "scipy", "sklearn", "typer", "rich", "pytest", "hypothesis", "torch._inductor",
)  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_nothing_heavy(package):
    code = f"import sys, {package}; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_plugin_is_loaded():
    assert {plugin.name: plugin.state for plugin in REGISTRY.report()} == {
        name: State.LOADED for name in ("augment", "core", "datasets", "graph", "sde", "vanderpol")
    }


@pytest.mark.parametrize("plugin", [plugin.name for plugin in REGISTRY.report()])
def test_every_plugin_is_fit_to_be_published(plugin):
    check_plugin(plugin, REGISTRY)


@pytest.mark.parametrize(("kind", "name"), REGISTRY.components())
def test_every_component_resolves(kind, name):
    assert REGISTRY.get(kind, name)


def test_public_names_are_those_on_the_list():
    """A change of the public names is a decision: it shows in the list's history."""
    listed = (Path(__file__).parent / "public_names.txt").read_text().split()
    found = [f"{package}.{name}" for package in PACKAGES for name in importlib.import_module(package).__all__]
    found += [f"torchdyn_core.testing.{name}" for name in importlib.import_module("torchdyn_core.testing").__all__]
    assert sorted(found) == listed


def test_the_command_line_runs():
    for command in (["plugins"], ["list", "solver"], ["show", "vanderpol.ssprk3"], ["doctor"]):
        run = subprocess.run(["torchdyn", *command], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
