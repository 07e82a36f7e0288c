"""The command line: what it prints, in both forms, and the exit codes that scripts go by."""

import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from torchdyn_core import registry
from torchdyn_core.cli import doctor
from torchdyn_core.cli.app import app
from torchdyn_core.plugin import INTERFACES


@pytest.fixture
def run(site, monkeypatch):
    """Runs a command on a registry of its own."""
    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments):
        registry.default_registry.cache_clear()
        return CliRunner().invoke(app, list(arguments))

    yield command
    registry.default_registry.cache_clear()


@pytest.fixture
def broken(site):
    site.install("torchdyn-broken", {"broken": "broken_plugin"}, broken_plugin="raise OSError('libgraph.so')")


def test_plugins_tells_the_sound_from_the_broken(run, site, broken):
    site.sound()
    result = run("plugins")
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["sound", "torchdyn-sound", "1.2", "loaded", "2"] in lines
    assert ["broken", "torchdyn-broken", "1.2", "failed", "0"] in lines
    assert "torchdyn-broken 1.2 failed to load" in result.stderr and "libgraph.so" in result.stderr
    rows = {row["plugin"]: row for row in json.loads(run("plugins", "--json").stdout)}
    assert rows["core"]["state"] == "loaded" and "libgraph.so" in rows["broken"]["problem"]


def test_plugins_is_content_where_nothing_is_broken(run, site):
    site.sound()
    assert run("plugins").exit_code == 0


def test_list_names_everything_with_its_paper(run, site):
    site.sound()
    result = run("list")
    assert result.exit_code == 0
    for word in ("dopri5", "checkpointed", "pid", "sound.step", "sound.decay", "arXiv:0000.00000"):
        assert word in result.stdout
    rows = json.loads(run("list", "solver", "--json").stdout)
    assert {row["kind"] for row in rows} == {"solver"}
    assert {"kind": "solver", "name": "sound.step", "summary": "One step", "paper": "arXiv:0000.00000"} in rows
    assert json.loads(run("list", "dataset", "--json").stdout) == []


def test_list_goes_on_beside_a_broken_plugin(run, broken):
    result = run("list", "solver", "--json")
    assert result.exit_code == 0 and "libgraph.so" in result.stderr
    assert any(row["name"] == "tsit5" for row in json.loads(result.stdout))


def test_list_refuses_an_unknown_kind(run):
    result = run("list", "solvr")
    assert result.exit_code == 2 and "did you mean 'solver'" in result.stderr


def test_show_gives_call_order_paper_and_docstring(run, site):
    text = run("show", "dopri5").stdout
    for word in ("DormandPrince5()", "order         5", "dense order   4", "step control  yes", "doi:10.1016"):
        assert word in text
    shown = json.loads(run("show", "pid", "--json").stdout)
    assert shown["kind"] == "controller" and shown["properties"] == {"adaptive": True}
    assert {"name": "rtol", "type": "float | Tensor", "default": "0.001"} in shown["options"]
    site.sound()
    assert json.loads(run("show", "sound.step", "--json").stdout)["distribution"] == "torchdyn-sound 1.2"


def test_show_fails_with_the_close_match_or_the_plugin_to_blame(run, broken):
    result = run("show", "dopri6")
    assert result.exit_code == 1 and "did you mean" in result.stderr and not result.stdout
    result = run("show", "broken.thing")
    assert result.exit_code == 1 and "torchdyn-broken 1.2" in result.stderr
    assert run("show", "tsit5", "--kind", "adjoint").exit_code == 1


def test_show_asks_for_the_kind_where_a_name_has_two(run, site):
    site.install(
        "torchdyn-double",
        {"double": "double_plugin"},
        double_plugin="""
        from torchdyn_core.plugin import Component, hookimpl

        @hookimpl
        def torchdyn_components():
            return (
                Component("solver", "a", "torchdyn_core:Euler"),
                Component("adjoint", "a", "torchdyn_core:Direct"),
            )
        """,
    )
    result = run("show", "double.a")
    assert result.exit_code == 1 and "--kind" in result.stderr
    assert json.loads(run("show", "double.a", "--kind", "adjoint", "--json").stdout)["kind"] == "adjoint"


def test_doctor_solves_and_finds_what_is_ill(run, broken):
    result = run("doctor", "--json")
    found = {row["subject"]: row for row in json.loads(result.stdout)}
    assert found["solve"]["healthy"] and {"torch", "cpu", "C++ compiler"} <= set(found)
    assert not found["plugin broken"]["healthy"] and result.exit_code == 1
    assert "plugin broken" in run("doctor").stdout


def test_doctor_is_content_with_core_alone(run):
    assert run("doctor").exit_code == 0


def test_every_command_has_help(run):
    for command in ("plugins", "list", "show", "doctor"):
        assert run(command, "--help").exit_code == 0
    assert all(kind in run("list", "--help").stdout for kind in INTERFACES)


def test_without_the_extra_it_says_how_to_install_it():
    code = "import sys; sys.modules['typer'] = None; from torchdyn_core.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.strip() == 'torchdyn needs typer: pip install "torchdyn-core[cli]"'


def manifest(*components):
    hook = "@hookimpl\ndef torchdyn_components():\n    return ({},)\n".format(", ".join(components))
    return f"from torchdyn_core.plugin import Component, hookimpl\n\n{hook}"


def in_a_process(site, *arguments, **environment):
    environment = {**os.environ, "PYTHONPATH": str(site.folder), "COLUMNS": "60", **environment}
    code = "from torchdyn_core.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)


def test_json_stays_json_whatever_plugins_print(site):
    """To Python's stdout and to its file descriptor."""
    noise = "import os\nprint('Setting the default backend')\nos.write(1, b'from C')\n"
    component = "Component('solver', 'a', 'torchdyn_core:Euler')"
    site.install("torchdyn-loud", {"loud": "loud_plugin"}, loud_plugin=noise + manifest(component))
    for command in (["list"], ["plugins"], ["doctor"], ["show", "loud.a"]):
        result = in_a_process(site, *command, "--json")
        assert json.loads(result.stdout) and "Setting the default backend" in result.stderr, result.stderr


def test_a_strict_listing_fails_in_a_line(site, broken):
    result = in_a_process(site, "list", TORCHDYN_STRICT_PLUGINS="1")
    assert result.returncode == 1 and not result.stdout and "Traceback" not in result.stderr
    line = next(line for line in result.stderr.splitlines() if line.startswith("error:"))
    assert "libgraph.so" in line and "tell its authors" in line, "a message is one line, however wide the terminal"


def test_show_of_a_core_name_asks_no_plugin(site, broken):
    result = in_a_process(site, "show", "dopri5", TORCHDYN_STRICT_PLUGINS="1", PYTHONWARNINGS="error::UserWarning")
    assert result.returncode == 0 and "DormandPrince5" in result.stdout and not result.stderr


def test_show_of_what_is_no_class(run, site):
    parts = "import functools\ndef load(fold): pass\npart = functools.partial(load, 1)\n"
    components = ("Component('dataset', 'part', 'odd_data:part')", "Component('dataset', 'dict', 'builtins:dict')")
    site.install("torchdyn-odd", {"odd": "odd_plugin"}, odd_plugin=manifest(*components), odd_data=parts)
    assert json.loads(run("show", "odd.part", "--json").stdout)["call"] == "partial()"
    assert json.loads(run("show", "odd.dict", "--json").stdout)["options"] == []


def test_show_names_the_distribution_that_owns_the_name(run, site):
    component = "Component('solver', 'euler', 'torchdyn_core.methods:Euler', 'Explicit Euler: order 1')"
    site.install("torchdyn-same", {"same": "same_plugin"}, same_plugin=manifest(component))
    assert json.loads(run("show", "same.euler", "--json").stdout)["distribution"] == "torchdyn-same 1.2"


def test_foreign_text_is_shown_as_it_stands(run, site):
    source = '''
    from torchdyn_core import Euler

    class Sliced(Euler):
        """Steps y[:x:] and [bold]."""

        def __init__(self, table="a\\nb"):
            pass
    '''
    component = "Component('solver', 'a', 'odd_methods:Sliced', 'a:x:b and more than eight letters')"
    site.install("torchdyn-odd", {"odd": "odd_plugin"}, odd_plugin=manifest(component), odd_methods=source)
    shown = run("show", "odd.a").stdout
    assert "y[:x:] and [bold]" in shown and "a:x:b" in shown
    assert "table = 'a\\nb'" in shown, "an option is one line of the table"
    assert "a:x:b and more than eight letters" in run("list", "solver").stdout


def test_an_unknown_kind_is_a_wrong_call_everywhere(run):
    result = run("show", "dopri5", "--kind", "solvr")
    assert result.exit_code == 2 and "did you mean 'solver'" in result.stderr


@pytest.mark.parametrize("name", ["sde", "Ill-Formed", "missing"])
def test_plugins_that_are_refused_or_missing_fail_the_listing(run, site, monkeypatch, name):
    if name == "missing":
        monkeypatch.setenv("TORCHDYN_PLUGINS", "missing")
    else:
        component = "Component('solver', 'a', 'torchdyn_core:Euler')"
        site.install("torchdyn-stranger", {name: "strange_plugin"}, strange_plugin=manifest(component))
    assert run("plugins").exit_code == 1 and run("doctor").exit_code == 1


def test_a_plugin_of_another_version_fails_the_listing(run, site):
    site.install("torchdyn-later", {"later": "later_plugin"}, group="torchdyn.v9", later_plugin="")
    assert run("plugins").exit_code == 1


def test_plugins_that_were_left_out_are_no_illness(run, site, monkeypatch):
    site.sound()
    monkeypatch.setenv("TORCHDYN_PLUGINS", "")
    assert run("plugins").exit_code == 0 and run("doctor").exit_code == 0


def test_doctor_measures_its_solve(run, monkeypatch):
    monkeypatch.setattr(doctor, "solve", lambda *_, **options: SimpleNamespace(ys=[options["args"] * 0.5]))
    row = next(r for r in json.loads(run("doctor", "--json").stdout) if r["subject"] == "solve")
    assert not row["healthy"] and "exp(-1) to 1e-01, its gradient to 9e-01" in row["finding"]

    lost = SimpleNamespace(item=lambda: math.exp(-1), backward=lambda: None)

    def without_gradient(*_, args, **options):
        args.grad = torch.tensor(float("nan"), dtype=args.dtype)
        return SimpleNamespace(ys=[lost])

    monkeypatch.setattr(doctor, "solve", without_gradient)
    row = next(r for r in json.loads(run("doctor", "--json").stdout) if r["subject"] == "solve")
    assert not row["healthy"] and "its gradient to nan" in row["finding"]

    def fails(*_, **options):
        raise ArithmeticError("no such thing")

    monkeypatch.setattr(doctor, "solve", fails)
    result = run("doctor", "--json")
    row = next(r for r in json.loads(result.stdout) if r["subject"] == "solve")
    assert result.exit_code == 1 and row["finding"] == "raised ArithmeticError: no such thing"


def test_doctor_says_where_no_compiler_is(run, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    row = next(r for r in json.loads(run("doctor", "--json").stdout) if r["subject"] == "C++ compiler")
    assert "none (looked for no-such-compiler)" in row["finding"]
