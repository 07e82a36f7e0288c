"""The registry: names from core and from plugins; a plugin that breaks, in whatever way, breaks alone."""

import subprocess
import sys
import textwrap
import threading
import warnings

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
    solve,
)
from torchdyn_core import registry as registry_module
from torchdyn_core.discovery import State
from torchdyn_core.plugin import Component
from torchdyn_core.registry import Registry, default_registry

MANIFEST = """
from torchdyn_core.plugin import Component, hookimpl

@hookimpl
def torchdyn_components():
    return {components}
"""

HOOK = MANIFEST.format(components="(Component('solver', 'a', 'b:C'),)")


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


BROKEN = {
    "import error": ("from torchdyn_core import no_such_thing", "cannot import name", "Upgrade or uninstall"),
    "any exception": ("raise FileNotFoundError('libgraph.so')", "FileNotFoundError: libgraph.so", "Upgrade"),
    "exit at import": ("import sys; sys.exit(3)", "SystemExit: 3", "Upgrade"),
    "missing dependency": ("import no_such_library.part", "no_such_library", "Install 'no_such_library'"),
    "syntax error": ("def (", "SyntaxError", "Upgrade"),
    "misspelt hook": (HOOK.replace("torchdyn_components", "torchdyn_component"), "torchdyn_component", "Upgrade"),
    "no hook": ("x = 1", "is @hookimpl missing?", "Upgrade"),
    "undecorated hook": (HOOK.replace("@hookimpl", ""), "is @hookimpl missing?", "Upgrade"),
    "hook with arguments": (HOOK.replace("components()", "components(x)"), "x", "Upgrade"),
    "hook that raises": (MANIFEST.format(components="1 / 0"), "ZeroDivisionError", "Upgrade"),
    "hook that exits": (MANIFEST.format(components="exit(1)"), "SystemExit", "Upgrade"),
    "rubbish": (MANIFEST.format(components="['solver']"), "wanted a tuple of Component", "Upgrade"),
    "none": (MANIFEST.format(components="None"), "is @hookimpl missing", "Upgrade"),
    "nothing": (MANIFEST.format(components="()"), "no component", "Upgrade"),
    "unknown kind": (MANIFEST.format(components="(Component('solvr', 'a', 'b:C'),)"), "did you mean 'solver'", "Upgr"),
    "dotted name": (MANIFEST.format(components="(Component('solver', 'a.b', 'b:C'),)"), "name='a.b'", "Upgrade"),
    "bad target": (MANIFEST.format(components="(Component('solver', 'a', 'b.C'),)"), "target='b.C'", "Upgrade"),
    "twice": (MANIFEST.format(components="(Component('solver', 'a', 'b:C'),) * 2"), "2 components", "Upgrade"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_plugin_that_breaks_breaks_alone(site, kind):
    source, cause, remedy = BROKEN[kind]
    site.sound()
    site.install("torchdyn-broken", {"broken": "broken_plugin"}, broken_plugin=source)
    registry = Registry()
    with pytest.warns(PluginWarning, match="'broken' of torchdyn-broken 1.2") as said:
        names = registry.names("solver")
    assert len(said) == 1 and {"euler", "sound.step"} <= set(names)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        registry.names("field")
    assert registry.get("solver", "euler") is Euler and registry.get("solver", "sound.step")
    for _ in range(2):
        with pytest.raises(PluginError) as error:
            registry.get("solver", "broken.anything")
        message = str(error.value)
        assert "broken.anything" in message and "torchdyn-broken 1.2" in message
        assert cause in message and remedy in message
        assert error.value.__cause__ is not None
    assert states(registry)["broken", "torchdyn-broken"] is State.FAILED
    assert states(registry)["sound", "torchdyn-sound"] is State.LOADED


def test_a_plugin_whose_module_is_missing_breaks_alone(site):
    site.sound()
    site.install("torchdyn-broken", {"broken": "not_installed_at_all"})
    registry = Registry()
    with pytest.raises(PluginError, match="Install 'not_installed_at_all'"):
        registry.get("solver", "broken.x")
    assert registry.get("solver", "sound.step")


TARGETS = {
    "no such module": ("nowhere_at_all:Step", "No module named 'nowhere_at_all'"),
    "no such class": ("sound_methods:Stop", "has no attribute 'Stop'"),
    "another kind": ("sound_methods:Decay", "wanted a class of kind Solver"),
    "no class": ("sound_methods:__doc__", "wanted a class of kind Solver"),
    "module that exits": ("exits:Step", "SystemExit: 2"),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_component_whose_class_is_not_there_breaks_alone(site, kind):
    target, cause = TARGETS[kind]
    site.sound()
    bad = MANIFEST.format(
        components=f"(Component('solver', 'bad', {target!r}), Component('solver', 'good', 'sound_methods:Step'))"
    )
    site.install("torchdyn-half", {"half": "half_plugin"}, half_plugin=bad, exits="raise SystemExit(2)")
    registry = Registry()
    with pytest.raises(PluginError) as error:
        registry.get("solver", "half.bad")
    assert cause in str(error.value) and "half.bad" in str(error.value) and "torchdyn-half 1.2" in str(error.value)
    assert registry.get("solver", "half.good") is registry.get("solver", "sound.step")


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
    site.install("torchdyn-odd", {name: "odd_plugin"}, odd_plugin=HOOK)
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


def test_a_broken_neighbour_that_is_no_plugin_is_not_read(site):
    info = site.folder / "wreck-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[console_scripts]\nno equals sign here\n")
    site.sound()
    assert Registry().get("solver", "sound.step")


def test_an_interrupt_is_no_broken_plugin(site):
    site.install("torchdyn-stuck", {"stuck": "stuck_plugin"}, stuck_plugin="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry().get("solver", "stuck.x")


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


def test_entry_points_that_cannot_be_read_are_their_distributions_trouble(site):
    site.sound()
    info = site.folder / "torchdyn_wreck-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torchdyn-wreck\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[torchdyn.v1]\nno equals sign here\n")
    registry = Registry()
    assert registry.get("solver", "sound.step")
    with pytest.raises(PluginError, match=r"torchdyn-wreck 1\.2 has entry points that cannot be read"):
        registry.get("solver", "wreck.x")
    assert states(registry)["wreck", "torchdyn-wreck"] is State.FAILED


def test_metadata_without_a_name_are_no_hindrance(site):
    site.sound()
    info = site.folder / "nameless-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\n")
    (info / "entry_points.txt").write_text("[torchdyn.v1]\nnameless = nameless_plugin\n")
    (site.folder / "nameless_plugin.py").write_text((site.folder / "sound_plugin.py").read_text())
    registry = Registry()
    assert registry.get("solver", "nameless.step") is registry.get("solver", "sound.step")
    assert states(registry)["nameless", "an unknown distribution"] is State.LOADED


def test_a_bare_name_that_a_plugin_has_is_pointed_out(site):
    site.sound()
    registry = Registry()
    registry.names("solver")
    with pytest.raises(UnknownComponentError, match=r"did you mean 'sound\.step'"):
        registry.get("solver", "step")


@pytest.mark.parametrize("file", ["entry_points.txt", "METADATA"])
def test_metadata_that_are_no_text_are_their_distributions_trouble(site, file):
    site.sound()
    site.install("torchdyn-wreck", {"wreck": "wreck_plugin"}, wreck_plugin=HOOK)
    (site.folder / "torchdyn_wreck-1.2.dist-info" / file).write_bytes(b"[torchdyn.v1]\nName: \xff\n\xff = a:b\n")
    registry = Registry()
    assert registry.get("solver", "sound.step").__name__ == "Step"
    assert "sound.step" in registry.names("solver") and registry.report()


@pytest.mark.parametrize("place", ["import", "hook", "class"])
def test_a_panic_that_is_no_exception_breaks_its_plugin_alone(site, place):
    panic = "class Panic(BaseException): pass\n"
    source = MANIFEST.format(components="(Component('solver', 'a', 'panicking:C'),)")
    if place == "import":
        source = panic + "raise Panic('rust')"
    elif place == "hook":
        source = panic + source.replace("    return", "    raise Panic('rust')\n    return")
    site.sound()
    site.install(
        "torchdyn-panic", {"panic": "panic_plugin"}, panic_plugin=source, panicking=panic + "raise Panic('rust')"
    )
    registry = Registry()
    with pytest.raises(PluginError, match=r"Panic: rust.*torchdyn-panic"):
        registry.get("solver", "panic.a")
    assert registry.get("solver", "sound.step").__name__ == "Step"


def test_an_interrupted_plugin_is_loaded_when_it_is_asked_for_again(site):
    source = MANIFEST.format(components="(Component('solver', 'step', 'sound_methods:Step'),)")
    source = "times = []\n" + source.replace(
        "    return", "    times.append(1)\n    if len(times) == 1: raise KeyboardInterrupt\n    return"
    )
    site.sound()
    site.install("torchdyn-slow", {"slow": "slow_plugin"}, slow_plugin=source)
    registry = Registry()
    with pytest.raises(KeyboardInterrupt):
        registry.get("solver", "slow.step")
    assert registry.get("solver", "slow.step").__name__ == "Step"


def test_a_module_that_is_being_imported_may_ask_the_registry(site):
    """One thread imports a plugin's module, which asks for a name; another asks the registry for that plugin."""
    site.sound()
    body = "import both, time\nboth.inside.set()\nboth.asked.wait(10)\nboth.registry.get('solver', 'heun')\n"
    site.install(
        "torchdyn-both", {"both": "both_plugin"},
        both_plugin=body + MANIFEST.format(components="(Component('solver', 'step', 'sound_methods:Step'),)"),
        both="import threading\ninside, asked = threading.Event(), threading.Event()",
    )  # fmt: skip
    import importlib

    both, found = importlib.import_module("both"), []
    both.registry = registry = Registry()
    first = threading.Thread(target=lambda: importlib.import_module("both_plugin"), daemon=True)
    second = threading.Thread(target=lambda: found.append(registry.get("solver", "both.step")), daemon=True)
    first.start()
    both.inside.wait(10)
    second.start()
    both.asked.set()
    for thread in (first, second):
        thread.join(20)
        assert not thread.is_alive(), "the registry and Python's import lock wait for each other"
    assert found[0].__name__ == "Step"


def test_a_manifest_that_asks_the_registry_is_sound(site, monkeypatch):
    source = "from torchdyn_core.registry import default_registry\nseen = default_registry().names('solver')\n" + HOOK
    site.install("torchdyn-nested", {"nested": "nested_plugin"}, nested_plugin=source)
    registry = Registry()
    monkeypatch.setattr(registry_module, "default_registry", lambda: registry)
    (plugin,) = (p for p in registry.report() if p.name == "nested")
    assert plugin.state is State.LOADED and not plugin.problem and plugin.cause is None
    assert "euler" in sys.modules["nested_plugin"].seen


def test_lazy_attributes_of_a_manifest_are_left_alone(site):
    source = HOOK + (
        "\ndef __dir__():\n    return [*globals(), 'Heavy']\n\ndef __getattr__(name):\n    raise RuntimeError(name)\n"
    )
    site.install("torchdyn-lazy", {"lazy": "lazy_plugin"}, lazy_plugin=source)
    assert states(Registry())["lazy", "torchdyn-lazy"] is State.LOADED


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ("from torchdyn_core import Solver\nclass C(Solver): pass", r"is abstract: it lacks init, interpolate, step"),
        ("class M(type):\n    def __repr__(cls): 1 / 0\nclass C(metaclass=M): pass", "ZeroDivisionError"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(site, methods, words):
    source = MANIFEST.format(components="(Component('solver', 'a', 'odd_methods:C'),)")
    site.install("torchdyn-odd", {"odd": "odd_plugin"}, odd_plugin=source, odd_methods=methods)
    with pytest.raises(PluginError, match=words):
        Registry().get("solver", "odd.a")


def test_a_dataset_is_a_function_or_a_class(site):
    source = MANIFEST.format(
        components="(Component('dataset', 'good', 'odd_data:load'), Component('dataset', 'bad', 'odd_data:table'))"
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


def test_two_hooks_and_shared_manifests_are_spoken_of_in_a_sentence(site):
    two = HOOK + "\n@hookimpl(specname='torchdyn_components')\ndef again():\n    return ()\n"
    site.install("torchdyn-two", {"two": "two_plugin"}, two_plugin=two)
    site.install("torchdyn-twin", {"one": "twin_plugin", "other": "twin_plugin"}, twin_plugin=HOOK)
    found = states(Registry())
    assert found["two", "torchdyn-two"] is State.FAILED
    assert found["one", "torchdyn-twin"] is found["other", "torchdyn-twin"] is State.LOADED
    with pytest.raises(PluginError, match="has 2 hooks torchdyn_components"):
        Registry().get("solver", "two.a")


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
    site.install("torchdyn-stranger", {name: "stranger_plugin"}, stranger_plugin=HOOK)
    assert states(Registry())[name, "torchdyn-stranger"] is State.REFUSED
