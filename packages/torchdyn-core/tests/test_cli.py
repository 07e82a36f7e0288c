"""The command line: what it prints, in both forms, and the exit codes that scripts go by."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from torchdyn_core import registry
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
