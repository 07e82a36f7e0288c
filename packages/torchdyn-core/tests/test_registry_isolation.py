"""Plugins that break while they are found, loaded or used, from one thread or two: each breaks alone."""

import builtins
import importlib
import sys
import threading
import warnings
from importlib import metadata
from importlib.metadata import EntryPoint

import pytest

from torchdyn_core import Euler, PluginError, PluginWarning, discovery
from torchdyn_core.discovery import Plugin, State, installed
from torchdyn_core.registry import Registry

EULER = '(Component("solver", "a", "torchdyn_core:Euler"),)'


@pytest.fixture(autouse=True)
def _nothing_else_is_installed(monkeypatch):
    """The plugins of whoever runs the tests are none of theirs: they look at the folders that a test adds, alone."""
    before = set(sys.path)

    def distributions():
        return metadata.distributions(path=[folder for folder in sys.path if folder not in before])

    monkeypatch.setattr(discovery, "distributions", distributions)


def states(registry):
    return {(plugin.name, plugin.distribution): plugin.state for plugin in registry.report()}


TWO = """
from torchdyn_core.plugin import hookimpl

@hookimpl(specname="torchdyn_components")
def another():
    return ()
"""

BROKEN = {
    "import error": ("from torchdyn_core import no_such_thing", "cannot import name", "Upgrade or uninstall"),
    "any exception": ("raise FileNotFoundError('libgraph.so')", "FileNotFoundError: libgraph.so", "Upgrade"),
    "panic": ("class Panic(BaseException): pass\nraise Panic('in Rust')", "Panic: in Rust", "Upgrade"),
    "skipped test": ("import pytest\npytest.importorskip('no_such_library')", "Skipped: ", "Upgrade"),
    "cancelled": ("import asyncio\nraise asyncio.CancelledError('x')", "CancelledError: x", "Upgrade"),
    "speechless": (
        "class Dumb(Exception):\n def __str__(self): raise self\nraise Dumb",
        "fails to describe",
        "Upgrade",
    ),
    "panics when it describes itself": (
        "class Dumb(Exception):\n def __str__(self): raise BaseException(1)\nraise Dumb",
        "fails to describe",
        "Upgrade",
    ),
    "nameless dependency": ("raise ModuleNotFoundError('x', name=5)", "NotFoundError: x", "Upgrade"),
    "exit at import": ("import sys; sys.exit(3)", "SystemExit: 3", "Upgrade"),
    "missing dependency": ("import no_such_library.part", "no_such_library", "Install 'no_such_library'"),
    "syntax error": ("def (", "SyntaxError", "Upgrade"),
    "misspelt hook": ({"hook": "torchdyn_component()"}, "unknown hook 'torchdyn_component'", "Upgrade"),
    "no hook": ("x = 1", "is @hookimpl missing?", "Upgrade"),
    "undecorated hook": ({"mark": ""}, "is @hookimpl missing?", "Upgrade"),
    "hook with arguments": ({"hook": "torchdyn_components(x)"}, "x", "Upgrade"),
    "hook that raises": ({"components": "1 / 0"}, "ZeroDivisionError", "Upgrade"),
    "hook that panics": ({"components": "exec('raise BaseException(7)')"}, "BaseException: 7", "Upgrade"),
    "two hooks": ({"above": TWO}, "it has 2 hooks torchdyn_components; wanted one", "Upgrade"),
    "hook that exits": ({"components": "exit(1)"}, "SystemExit", "Upgrade"),
    "rubbish": ({"components": "['solver']"}, "wanted a tuple of Component", "Upgrade"),
    "none": ({"components": "None"}, "returned None; wanted a tuple of Component", "Upgrade"),
    "nothing": ({"components": "()"}, "no component", "Upgrade"),
    "unknown kind": ({"components": "(Component('solvr', 'a', 'b:C'),)"}, "did you mean 'solver'", "Upgr"),
    "dotted name": ({"components": "(Component('solver', 'a.b', 'b:C'),)"}, "name='a.b'", "Upgrade"),
    "bad target": ({"components": "(Component('solver', 'a', 'b.C'),)"}, "target='b.C'", "Upgrade"),
    "twice": ({"components": "(Component('solver', 'a', 'b:C'),) * 2"}, "2 components", "Upgrade"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_plugin_that_breaks_breaks_alone(site, kind):
    source, cause, remedy = BROKEN[kind]
    source = site.manifest(**source) if isinstance(source, dict) else source
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
    "module that panics": ("panics:Step", "BaseException: 3"),
}


ODD_MODULES = {
    "exits": "raise SystemExit(2)",
    "panics": "raise BaseException(3)",
}


@pytest.mark.parametrize("kind", TARGETS)
def test_a_component_whose_class_is_not_there_breaks_alone(site, kind):
    target, cause = TARGETS[kind]
    site.sound()
    bad = site.manifest(f"(Component('solver', 'bad', {target!r}), Component('solver', 'good', 'sound_methods:Step'))")
    site.install("torchdyn-half", {"half": "half_plugin"}, half_plugin=bad, **ODD_MODULES)
    registry = Registry()
    with pytest.raises(PluginError) as error:
        registry.get("solver", "half.bad")
    assert cause in str(error.value) and "half.bad" in str(error.value) and "torchdyn-half 1.2" in str(error.value)
    assert registry.get("solver", "half.good") is registry.get("solver", "sound.step")


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


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ("from torchdyn_core import Solver\nclass C(Solver): pass", r"is abstract: it lacks init, interpolate, step"),
        (
            "class M(type):\n    def __repr__(cls): 1 / 0\nclass C(metaclass=M): pass",
            "type M .* a class of kind Solver",
        ),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(site, methods, words):
    source = site.manifest("(Component('solver', 'a', 'odd_methods:C'),)")
    site.install("torchdyn-odd", {"odd": "odd_plugin"}, odd_plugin=source, odd_methods=methods)
    with pytest.raises(PluginError, match=words):
        Registry().get("solver", "odd.a")


def test_two_hooks_and_shared_manifests_are_spoken_of_in_a_sentence(site):
    site.install("torchdyn-two", {"two": "two_plugin"}, two_plugin=site.manifest(above=TWO))
    site.install("torchdyn-twin", {"one": "twin_plugin", "other": "twin_plugin"}, twin_plugin=site.manifest())
    found = states(Registry())
    assert found["two", "torchdyn-two"] is State.FAILED
    assert found["one", "torchdyn-twin"] is found["other", "torchdyn-twin"] is State.LOADED
    with pytest.raises(PluginError, match="has 2 hooks torchdyn_components"):
        Registry().get("solver", "two.a")


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


UNREADABLE = {
    "entry points": ("entry_points.txt", b"[torchdyn.v1]\nwreck = wreck_plugin\n\xff = x\n"),
    "metadata": ("METADATA", b"Metadata-Version: 2.1\nName: torchdyn-wreck\nVersion: 1.2\nAuthor: \xff\n"),
}


@pytest.mark.parametrize("file", UNREADABLE)
def test_a_wrong_byte_in_the_metadata_is_its_distributions_trouble(site, file):
    name, content = UNREADABLE[file]
    site.sound()
    site.install("torchdyn-wreck", {"wreck": "wreck_plugin"}, wreck_plugin="raise AssertionError('imported')")
    (site.folder / "torchdyn_wreck-1.2.dist-info" / name).write_bytes(content)
    registry = Registry()
    with pytest.warns(PluginWarning, match=r"torchdyn-wreck 1\.2 has .* that cannot be read: UnicodeDecodeError"):
        assert "sound.step" in registry.names("solver")
    assert registry.get("solver", "sound.step")
    assert states(registry)["wreck", "torchdyn-wreck"] is State.FAILED and "wreck_plugin" not in sys.modules
    with pytest.raises(PluginError, match="cannot be read"):
        registry.get("solver", "wreck.x")


def test_a_wrong_byte_in_a_neighbour_that_is_no_plugin_is_passed_over(site):
    info = site.folder / "wreck-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_bytes(b"[console_scripts]\n\xff = a:b\n")
    site.sound()
    assert set(states(Registry())) == {("core", "torchdyn-core"), ("sound", "torchdyn-sound")}


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_metadata_that_cannot_be_read_at_all_are_passed_over(site, monkeypatch, error):
    """A disk that fails, a damaged archive: whose metadata they are cannot be told, and nobody else is to blame."""

    class Damaged(metadata.Distribution):
        def read_text(self, filename):
            raise error(filename)

        def locate_file(self, path):
            raise error(path)

    site.sound()
    others = discovery.distributions
    monkeypatch.setattr(discovery, "distributions", lambda: [Damaged(), *others()])
    assert set(states(Registry())) == {("core", "torchdyn-core"), ("sound", "torchdyn-sound")}


def test_a_plugin_without_metadata_is_reported(site):
    site.install("torchdyn-bare", {"bare": "bare_plugin"}, bare_plugin=site.manifest())
    (site.folder / "torchdyn_bare-1.2.dist-info" / "METADATA").unlink()
    assert {plugin.name: plugin.state for plugin in Registry().report()}["bare"] is not State.FOUND


INTERRUPTED = """
calls = []

def called(error):
    calls.append(1)
    if len(calls) == 1:
        raise error
"""


@pytest.mark.parametrize("error", [KeyboardInterrupt, GeneratorExit])
def test_an_interrupt_leaves_nothing_behind(site, error):
    late = """
        import int_plugin
        from torchdyn_core import Euler

        int_plugin.calls.append(1)
        if len(int_plugin.calls) == 3:
            raise {error}

        class Late(Euler):
            pass
    """
    late, inside = late.format(error=error.__name__), f"called({error.__name__})"
    hook = site.manifest("(Component('solver', 'a', 'int_methods:Late'),)", above=INTERRUPTED, inside=inside)
    sources = {"int_plugin": hook, "int_methods": late}
    site.install("torchdyn-int", {"int": "int_plugin"}, **sources)
    registry = Registry()
    for _ in range(2):
        with pytest.raises(error):
            registry.get("solver", "int.a")  # at the hook, then at the class
    assert registry.get("solver", "int.a").__name__ == "Late"
    assert states(registry)["int", "torchdyn-int"] is State.LOADED


MEETING = """
import builtins

builtins.torchdyn_meeting.set()
import time; time.sleep(0.3)  # the other thread gets to where it needs this module
builtins.torchdyn_asked = {question}
"""


@pytest.mark.parametrize("question", ['registry.get("solver", "heun")', 'registry.names("solver")'])
def test_a_module_that_asks_the_registry_while_another_thread_loads_it(site, monkeypatch, question):
    """Whoever imports a module holds its lock in Python; if the registry had a lock too, both would wait for ever."""
    site.sound()
    source = site.manifest(EULER, above=MEETING.format(question=f"builtins.torchdyn_{question}"))
    site.install("torchdyn-meet", {"meet": "meet_plugin"}, meet_plugin=source)
    registry, meeting = Registry(), threading.Event()
    monkeypatch.setattr(builtins, "torchdyn_registry", registry, raising=False)
    monkeypatch.setattr(builtins, "torchdyn_meeting", meeting, raising=False)
    monkeypatch.setattr(builtins, "torchdyn_asked", None, raising=False)
    got = []

    def ask():
        meeting.wait(30)
        got.append(registry.get("solver", "meet.a"))

    threads = [
        threading.Thread(target=work, daemon=True) for work in (lambda: importlib.import_module("meet_plugin"), ask)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert got == [Euler] and builtins.torchdyn_asked
    assert states(registry)["meet", "torchdyn-meet"] is State.LOADED


def test_a_manifest_that_asks_the_registry_finds_all_but_itself(site, monkeypatch):
    site.sound()
    asking = "import builtins\nbuiltins.torchdyn_found.append(builtins.torchdyn_registry.names('solver'))\n"
    source = site.manifest(above=asking, inside="; ".join(asking.splitlines()))
    site.install("torchdyn-asks", {"asks": "asks_plugin"}, asks_plugin=source)
    registry, found = Registry(), []
    monkeypatch.setattr(builtins, "torchdyn_registry", registry, raising=False)
    monkeypatch.setattr(builtins, "torchdyn_found", found, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {"sound.step", "asks.a"} <= set(registry.names("solver"))
    assert len(found) == 2 and all("sound.step" in names and "asks.a" not in names for names in found)
    (plugin,) = (plugin for plugin in registry.report() if plugin.name == "asks")
    assert (plugin.state, plugin.problem, plugin.cause) == (State.LOADED, "", None)


def test_a_package_that_asks_the_registry_while_a_user_imports_it(site, monkeypatch):
    """Its module is there and has no hook yet: that is no reason to set it aside."""
    ask = "import builtins\nbuiltins.torchdyn_found.append(builtins.torchdyn_registry.{})\n"
    get = "builtins.torchdyn_registry.get('solver', 'early.a')"
    own = f"try:\n    {get}\nexcept ImportError as error:\n    said = str(error)\n"
    source = site.manifest(EULER, above=ask.format("names('solver')") + own)
    site.install("torchdyn-early", {"early": "early_plugin"}, early_plugin=source)
    registry, found = Registry(), []
    monkeypatch.setattr(builtins, "torchdyn_registry", registry, raising=False)
    monkeypatch.setattr(builtins, "torchdyn_found", found, raising=False)
    module = importlib.import_module("early_plugin")
    assert found and "early.a" not in found[0] and "asks for it while it is loaded itself" in module.said
    assert registry.get("solver", "early.a") is Euler


def test_two_threads_that_load_one_plugin_get_one_result(site, monkeypatch):
    source = site.manifest(inside="import builtins; builtins.torchdyn_barrier.wait(30)")
    site.install("torchdyn-both", {"both": "both_plugin"}, both_plugin=source)
    monkeypatch.setattr(builtins, "torchdyn_barrier", threading.Barrier(2), raising=False)
    registry, got = Registry(), []
    threads = [threading.Thread(target=lambda: got.append(registry.components()), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == 2 and got[0]["solver", "both.a"] is got[1]["solver", "both.a"]
    assert registry.components()["solver", "both.a"] is got[0]["solver", "both.a"]


def test_two_threads_that_look_for_plugins_find_the_same_ones(site):
    """One looks while the other one is looking; the first to have looked is believed."""
    site.sound()
    found = []

    def entry_points():
        if not found:
            found.append("looking")
            other = threading.Thread(target=lambda: found.append(registry.report()), daemon=True)
            other.start()
            other.join(30)
        return installed()

    registry = Registry(entry_points)
    assert registry.report() == found[1] and registry.report() == found[1]


def test_a_failure_does_not_undo_another_threads_success(site):
    """A second thread comes while the first one, for which the plugin failed, is about to write that down."""
    slow = site.manifest(EULER, above=INTERRUPTED, inside="called(OSError)")
    site.install("torchdyn-slow", {"slow": "slow_plugin"}, slow_plugin=slow)
    threads = []

    class Slow(Plugin):
        def __setattr__(self, name, value):
            if name == "problem" and "OSError" in value:
                threads.append(threading.Thread(target=registry.report, daemon=True))
                threads[0].start()
                threads[0].join(0.3)
            object.__setattr__(self, name, value)

    point = EntryPoint("slow", "slow_plugin", "torchdyn.v1")
    registry = Registry(lambda: [Slow("slow", "torchdyn-slow", point, "1.2")], environ={})
    registry.report()
    threads[0].join(30)
    (plugin,) = (plugin for plugin in registry.report() if plugin.name == "slow")
    assert len(threads) == 1 and registry.get("solver", "slow.a") is Euler
    assert (plugin.state, plugin.problem, plugin.cause) == (State.LOADED, "", None)
