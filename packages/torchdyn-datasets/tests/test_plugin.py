"""The package as a plugin: light, documented, its names answered with close ones."""

import inspect
import subprocess
import sys

import pytest

import torchdyn_datasets
from torchdyn_core import UnknownComponentError, VectorField
from torchdyn_core.registry import default_registry
from torchdyn_core.testing import check_plugin
from torchdyn_core.testing.docstrings import docstring_problems
from torchdyn_datasets.plugin import torchdyn_components


def test_the_plugin_is_fit_to_be_published():
    check_plugin("datasets")


@pytest.mark.parametrize("name", torchdyn_datasets.__all__)
def test_every_public_name_is_documented(name):
    assert docstring_problems(getattr(torchdyn_datasets, name)) == []


def test_all_public_names_are_where_they_are_said_to_be():
    assert sorted(torchdyn_datasets.__all__) == sorted(torchdyn_datasets._HOME)
    assert set(torchdyn_datasets.__all__) <= set(dir(torchdyn_datasets))
    with pytest.raises(AttributeError, match="has no attribute 'moon'"):
        _ = torchdyn_datasets.moon


def test_every_data_set_is_registered_under_its_name():
    public = {name: getattr(torchdyn_datasets, name) for name in torchdyn_datasets.__all__}
    functions = {name for name, value in public.items() if inspect.isfunction(value)}
    fields = {value for value in public.values() if isinstance(value, type) and issubclass(value, VectorField)}
    components = torchdyn_components()
    assert {component.name for component in components if component.kind == "dataset"} == functions
    registry = default_registry()
    found = {registry.get(component.kind, f"datasets.{component.name}") for component in components}
    assert {value for value in found if isinstance(value, type)} == fields - {torchdyn_datasets.NoisyField}
    assert all(public[name] is registry.get("dataset", f"datasets.{name}") for name in functions)


def test_a_mistyped_name_is_answered_with_close_ones():
    with pytest.raises(
        UnknownComponentError, match=r"no dataset is named 'datasets\.moon'; did you mean 'datasets\.moons'"
    ):
        default_registry().get("dataset", "datasets.moon")


def test_importing_the_package_and_making_toys_stays_light():
    heavy = ("matplotlib", "pooch", "requests", "scipy", "pandas", "sklearn")
    code = (
        f"import sys, torchdyn_datasets; print('torch' in sys.modules, 'numpy' in sys.modules)\n"
        f"torchdyn_datasets.moons(4); print(sorted(set({heavy!r}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["False False", "[]"]
