"""The registry: names from core and from plugins; a plugin that breaks, in whatever way, breaks alone."""

import subprocess
import sys
import textwrap
import tomllib
import warnings
from importlib import metadata
from pathlib import Path

import pytest
import torch

from torchdyn_core import (
    PID,
    Euler,
    IncompatibleError,
    NeuralODE,
    OptionError,
    PluginError,
    PluginWarning,
    UnknownComponentError,
    VectorField,
    discovery,
    solve,
)
from torchdyn_core import registry as registry_module
from torchdyn_core.discovery import State
from torchdyn_core.plugin import Component
from torchdyn_core.registry import Registry, default_registry


@pytest.fixture(autouse=True)
def _nothing_else_is_installed(monkeypatch):
    """The plugins of whoever runs the tests are none of theirs: they look at the folders that a test adds, alone."""
    before = set(sys.path)

    def distributions():
        return metadata.distributions(path=[folder for folder in sys.path if folder not in before])

    monkeypatch.setattr(discovery, "distributions", distributions)


def states(registry):
    return {(plugin.name, plugin.distribution): plugin.state for plugin in registry.report()}


def test_core_goes_through_the_hook_and_has_bare_names():
    registry = Registry(entry_points=lambda: ())
    assert registry.names("solver")[:2] == ["euler", "midpoint"] and registry.names("adjoint")[0] == "checkpointed"
    assert registry.get("solver", "euler") is Euler and registry.get("controller", "pid") is PID
    assert [(p.name, p.state) for p in registry.report()] == [("core", State.LOADED)]
    for (kind, name), component in registry.components().items():
        assert registry.get(kind, name).__name__ == component.target.rpartition(":")[2]


def test_a_plugin_is_found_by_name_and_used_by_solve_and_neural_ode(site, monkeypatch):
    site.sound()
    registry = Registry()
    assert "sound.step" in registry.names("solver") and registry.names("field") == ["sound.decay"]
    monkeypatch.setattr(registry_module, "default_registry", lambda: registry)
    y0, ts = torch.ones(2), torch.tensor([0.0, 1.0])
    decay = registry.get("field", "sound.decay")()
    from torchdyn_core import Fixed

    got = solve(decay, y0, ts, solver="sound.step", controller=Fixed(steps=4)).ys[-1]
    assert torch.equal(got, solve(decay, y0, ts, solver="euler", controller=Fixed(steps=4)).ys[-1])
    layer = NeuralODE(decay, solver="sound.step", controller=Fixed(steps=4))
    assert type(layer.options["solver"]).__name__ == "Step" and torch.equal(layer(y0), got)


def test_metadata_and_manifest_and_class_are_each_read_when_they_are_needed(site):
    """A slow plugin costs nothing until it is named, its class nothing until it is asked for."""
    site.sound()
    site.install("torchdyn-slow", {"slow": "slow_plugin"}, slow_plugin="raise AssertionError('imported')")
    registry = Registry()
    with pytest.raises(UnknownComponentError):
        registry.get("solver", "dopri6")
    assert not {"sound_plugin", "slow_plugin"} & set(sys.modules)
    with pytest.raises(UnknownComponentError, match=r"did you mean 'sound\.step'"):
        registry.get("solver", "sound.stop")
    assert "sound_plugin" in sys.modules and "sound_methods" not in sys.modules
    assert registry.get("solver", "sound.step").__name__ == "Step"
    assert states(registry)["slow", "torchdyn-slow"] is State.FAILED


def test_two_distributions_with_one_plugin_name_are_both_refused_before_any_import(site):
    site.sound()
    raising = "raise AssertionError('imported')"
    site.install("torchdyn-one", {"twin": "twin_one"}, twin_one=raising)
    site.install("torchdyn-two", {"twin": "twin_two"}, twin_two=raising)
    registry = Registry()
    with pytest.raises(PluginError, match=r"torchdyn-one 1\.2.*torchdyn-two 1\.2|torchdyn-two 1\.2.*torchdyn-one 1\.2"):
        registry.get("solver", "twin.x")
    found = states(registry)
    assert found["twin", "torchdyn-one"] is found["twin", "torchdyn-two"] is State.REFUSED
    assert not {"twin_one", "twin_two"} & set(sys.modules)
    assert registry.get("solver", "sound.step")


def test_a_reserved_name_is_refused_to_strangers_and_kept_for_its_owner(site):
    site.install("torchdyn-stranger", {"sde": "stranger", "core": "stranger"}, stranger="raise AssertionError")
    registry = Registry()
    with pytest.raises(PluginError, match="reserved to torchdyn-sde"):
        registry.get("solver", "sde.srk")
    assert states(registry)["core", "torchdyn-stranger"] is State.REFUSED
    site.sound()
    site.install("Torchdyn_SDE", {"sde": "sound_plugin"})
    registry = Registry()
    assert registry.get("solver", "sde.step").__name__ == "Step"
    assert states(registry)["sde", "torchdyn-stranger"] is State.REFUSED


def test_a_plugin_of_another_version_is_shown_and_never_imported(site):
    site.install("torchdyn-future", {"future": "future_plugin"}, group="torchdyn.v9", future_plugin="raise SystemExit")
    registry = Registry()
    with pytest.raises(PluginError, match=r"torchdyn\.v9.*torchdyn\.v1"):
        registry.get("solver", "future.x")
    assert states(registry)["future", "torchdyn-future"] is State.INCOMPATIBLE
    assert "future_plugin" not in sys.modules


def test_a_distribution_may_serve_two_versions(site):
    site.sound()
    info = site.folder / "torchdyn_sound-1.2.dist-info" / "entry_points.txt"
    info.write_text(info.read_text() + "[torchdyn.v2]\nsound = another\n")
    assert Registry().get("solver", "sound.step")


@pytest.mark.parametrize("name", ["Sound", "so-und", "so.und"])
def test_an_ill_formed_plugin_name_is_refused(site, name):
    site.install("torchdyn-odd", {name: "odd_plugin"}, odd_plugin=site.manifest())
    registry = Registry()
    assert states(registry)[name, "torchdyn-odd"] is State.REFUSED


def test_the_environment_limits_what_is_loaded(site):
    site.sound()
    site.install("torchdyn-other", {"other": "other_plugin"}, other_plugin="raise AssertionError('imported')")
    registry = Registry(environ={"TORCHDYN_PLUGINS": "sound"})
    assert registry.get("solver", "sound.step")
    with pytest.raises(PluginError, match="TORCHDYN_PLUGINS"):
        registry.get("solver", "other.x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "sound.step" in registry.names("solver")
    assert Registry(environ={"TORCHDYN_PLUGINS": ""}).names("field") == []
    with pytest.warns(PluginWarning, match="names 'sond'"):
        Registry(environ={"TORCHDYN_PLUGINS": "sond"}).names("solver")


def test_strict_raises_as_soon_as_a_broken_plugin_is_met(site):
    site.install("torchdyn-broken", {"broken": "broken_plugin"}, broken_plugin="raise OSError('x')")
    registry = Registry(environ={"TORCHDYN_STRICT_PLUGINS": "1"})
    with pytest.raises(PluginError, match="torchdyn-broken"):
        registry.names("solver")
    assert registry.report()[-1].state is State.FAILED


def test_unknown_names_say_what_there_is():
    registry = Registry(entry_points=lambda: ())
    for kind, name, message in (
        ("solver", "tist5", "did you mean 'tsit5'"),
        ("solver", "sde.srk", "pip install torchdyn-sde"),
        ("solver", "nobody.x", "no plugin 'nobody' is installed"),
        ("adjoint", "tsit5", "'tsit5' is of kind 'solver'"),
        ("solvers", "tsit5", "did you mean 'solver'"),
        ("field", "x", "there is no field"),
    ):
        with pytest.raises(UnknownComponentError, match=message):
            registry.get(kind, name)


def test_names_that_need_options_say_so(monkeypatch):
    class Needs(Euler):
        def __init__(self, mass, *, scale=1.0):
            self.mass = mass

    class Registered:
        def get(self, kind, name):
            return Needs

    monkeypatch.setattr(registry_module, "default_registry", Registered)
    with pytest.raises(OptionError, match=r"no default for mass; wanted solver=Needs\(mass=\.\.\.\)"):
        solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], solver="x")


def test_the_default_registry_is_one_and_names_reach_controllers():
    assert default_registry() is default_registry()
    y0, ts = torch.ones(2), torch.tensor([0.0, 1.0])
    assert torch.equal(
        solve(lambda t, y: -y, y0, ts, controller="pid").ys, solve(lambda t, y: -y, y0, ts, controller=PID()).ys
    )
    with pytest.raises(UnknownComponentError, match="augmentation"):
        NeuralODE(lambda t, y: -y, augmentation="zeros")
    with pytest.raises(IncompatibleError):
        solve(lambda t, y: -y, y0, ts, solver=VectorField())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"kind": "x"}, "kind"), ({"name": "Big"}, "name"), ({"target": "a.b"}, "target"), ({"summary": "a\nb"}, "line")],
)
def test_components_are_checked_where_they_are_made(options, message):
    with pytest.raises(OptionError, match=message):
        Component(**{"kind": "solver", "name": "a", "target": "b:C", **options})


def test_a_dataset_is_a_function_or_a_class(site):
    source = site.manifest(
        "(Component('dataset', 'good', 'odd_data:load'), Component('dataset', 'bad', 'odd_data:table'))"
    )
    site.install("torchdyn-odd", {"odd": "odd_plugin"}, odd_plugin=source, odd_data="def load(): pass\ntable = 3")
    assert Registry().get("dataset", "odd.good").__name__ == "load"
    with pytest.raises(PluginError, match="wanted something callable"):
        Registry().get("dataset", "odd.bad")


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("solver", "core.dopri5", "core's names are bare; wanted 'dopri5'"),
        ("solver", None, "wanted a string"),
        ("solver", 5, "wanted a string"),
        ("solver", ["dopri5"], "wanted a string"),
        (["solver"], "dopri5", "no kind of component"),
        ("solver", "soundd.step", "did you mean 'sound'"),
    ],
)
def test_what_is_no_name_is_said_to_be_none(site, kind, name, words):
    site.sound()
    with pytest.raises(UnknownComponentError, match=words):
        Registry().get(kind, name)


@pytest.mark.parametrize(
    ("value", "raises"), [("0", False), ("off", False), (" no ", False), ("", False), ("yes", True)]
)
def test_strict_is_a_switch(site, monkeypatch, value, raises):
    site.sound()
    site.install("torchdyn-bad", {"bad": "bad_plugin"}, bad_plugin="1 / 0")
    monkeypatch.setenv("TORCHDYN_STRICT_PLUGINS", value)
    if raises:
        with pytest.raises(PluginError, match="torchdyn-bad"):
            Registry().names("solver")
    else:
        with pytest.warns(PluginWarning):
            assert "sound.step" in Registry().names("solver")
    monkeypatch.setenv("TORCHDYN_STRICT_PLUGINS", "maybe")
    with pytest.raises(OptionError, match="wanted 1, true"):
        Registry().names("solver")


def test_a_plugin_that_is_left_out_is_no_failure_even_if_strict(site):
    site.sound()
    site.install("torchdyn-bad", {"bad": "bad_plugin"}, bad_plugin="1 / 0")
    environ = {"TORCHDYN_PLUGINS": " sound , core ", "TORCHDYN_STRICT_PLUGINS": "1"}
    registry = Registry(environ=environ)
    assert "sound.step" in registry.names("solver") and ("core", "") not in states(registry)


def test_an_editable_install_that_is_listed_twice_is_one_plugin(site, tmp_path_factory, monkeypatch):
    site.sound()
    second = tmp_path_factory.mktemp("second")
    info = second / "torchdyn_sound-1.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchdyn-sound\nVersion: 1.1\n")
    (info / "entry_points.txt").write_text("[torchdyn.v1]\nsound = elsewhere\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(second)])
    (plugin,) = (p for p in Registry().report() if p.name == "sound")
    assert plugin.version == "1.2" and plugin.state is State.LOADED


@pytest.mark.parametrize(
    "name", ["augment", "datasets", "flow", "graph", "hamiltonian", "lightning", "recurrent", "sde", "core"]
)
def test_every_name_of_the_projects_own_is_reserved(site, name):
    site.install("torchdyn-stranger", {name: "stranger_plugin"}, stranger_plugin=site.manifest())
    assert states(Registry())[name, "torchdyn-stranger"] is State.REFUSED


def test_importing_core_and_listing_names_import_nothing_heavy():
    code = """
        import sys, torchdyn_core
        from torchdyn_core.registry import default_registry
        default_registry().components()
        try:
            default_registry().get("solver", "dopri55")
        except LookupError:
            pass
        heavy = {"dgl", "torchsde", "pytorch_lightning", "lightning", "matplotlib", "typer", "rich", "scipy", "pytest",
                 "hypothesis", "pandas", "sklearn", "torchdiffeq", "torch_geometric", "torch._inductor"}
        print(sorted(heavy & set(sys.modules)))
    """
    out = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_bare_name_that_a_plugin_has_is_pointed_out(site):
    site.sound()
    registry = Registry()
    registry.names("solver")
    for bare in ("step", "stepp"):
        with pytest.raises(UnknownComponentError, match=r"did you mean 'sound\.step'"):
            registry.get("solver", bare)
    assert "sound_plugin" in sys.modules


def test_a_bare_name_that_nobody_has_is_told_which_plugins_there_are(site):
    site.sound()
    match = r"there is no dataset of core's; a plugin's come behind its name, 'sound\.moons'; there are plugins: sound"
    with pytest.raises(UnknownComponentError, match=match):
        Registry().get("dataset", "moons")
    assert "sound_plugin" not in sys.modules


def test_asking_for_a_lazy_packages_hook_imports_nothing_of_it(site):
    """A package that lists its lazy names in `__dir__`: they are not to be touched when its hook is looked for."""
    lazy = """
        __all__ = ["Heavy"]

        def __getattr__(name):
            if name == "Heavy":
                import lazy_heavy
                return lazy_heavy.Heavy
            raise AttributeError(name)

        def __dir__():
            return [*globals(), *__all__]
    """
    source = site.manifest("(Component('solver', 'a', 'lazy_heavy:Heavy'),)", above=lazy)
    site.install("torchdyn-lazy", {"lazy": "lazy_plugin"}, lazy_plugin=source, lazy_heavy="raise OSError('touched')")
    registry = Registry()
    assert "lazy.a" in registry.names("solver") and "lazy_heavy" not in sys.modules


def test_pluggy_is_one_that_leaves_lazy_names_alone():
    """Before 1.7 it reads every name that `dir` gives of a package, and so imports what the package puts off."""
    requirements = metadata.requires("torchdyn-core")
    if (declared := Path(__file__).parents[1] / "pyproject.toml").exists():  # the installed metadata may be older
        requirements = tomllib.loads(declared.read_text())["project"]["dependencies"]
    assert "pluggy>=1.7" in requirements


def test_a_class_is_looked_up_once(site, monkeypatch):
    site.sound()
    registry = Registry()
    step = registry.get("solver", "sound.step")
    monkeypatch.delattr(sys.modules["sound_methods"], "Step")
    assert registry.get("solver", "sound.step") is step


@pytest.mark.parametrize("stranger", ["aaa-stranger", "zzz-stranger"])
def test_the_owner_of_a_name_is_to_blame_and_not_who_was_refused_it(site, stranger):
    site.install("torchdyn-sde", {"sde": "broken_sde"}, broken_sde="raise OSError('libsde.so')")
    site.install(stranger, {"sde": "stranger_plugin"}, stranger_plugin=site.manifest())
    with pytest.raises(PluginError, match=r"torchdyn-sde 1\.2 failed to load .* libsde\.so") as caught:
        Registry().get("solver", "sde.srk")
    assert isinstance(caught.value.__cause__, OSError)


def test_a_plugin_that_is_out_of_use_takes_no_name(site):
    """One of another version or without readable metadata is no twin, and stays what it is whatever its name."""
    site.sound()
    site.install("torchdyn-old", {"sound": "x", "Ill": "x", "sde": "x"}, group="torchdyn.v0")
    site.install("torchdyn-torn", {"sound": "x"})
    (site.folder / "torchdyn_torn-1.2.dist-info" / "METADATA").write_bytes(b"Name: torchdyn-torn\nX: \xff\n")
    registry = Registry()
    assert registry.get("solver", "sound.step").__name__ == "Step"
    found = states(registry)
    assert {found[name, "torchdyn-old"] for name in ("sound", "Ill", "sde")} == {State.INCOMPATIBLE}
    assert found["sound", "torchdyn-torn"] is State.FAILED


def test_an_entry_point_may_name_an_object_and_extras(site):
    source = """
        from torchdyn_core.plugin import Component, hookimpl

        class Manifest:
            class inner:
                @staticmethod
                @hookimpl(specname="torchdyn_components")
                def brought():
                    return [Component("solver", "a", "torchdyn_core:Euler")]
    """
    site.install("torchdyn-deep", {"deep": "deep_plugin:Manifest.inner [heavy]"}, deep_plugin=source)
    assert Registry().get("solver", "deep.a") is Euler


def test_names_of_core_are_bare():
    registry = Registry(entry_points=lambda: ())
    with pytest.raises(
        UnknownComponentError, match=r"core's names are bare; wanted a name; did you mean 'dopri8' or 'dopri5'"
    ):
        registry.get("solver", "core.dopri6")
    with pytest.raises(UnknownComponentError, match="core's names are bare; wanted 'dopri5'"):
        registry.bearers("core.dopri5")
