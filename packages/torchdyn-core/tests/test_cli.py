"""The command line: what it prints, in both forms, and the exit codes that scripts go by."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from torchdyn_core.cli import doctor
from torchdyn_core.plugin import INTERFACES


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


@pytest.mark.parametrize("arguments", [("list", "solvr"), ("show", "tsit5", "--kind", "solvr")])
def test_an_unknown_kind_is_a_wrong_usage(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2 and "did you mean 'solver'" in result.stderr and not result.stdout


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


def test_show_points_out_the_plugin_of_a_bare_name(run, site):
    site.sound()
    assert "did you mean 'sound.step'?" in run("show", "step").stderr


def test_show_asks_for_the_kind_where_a_name_has_two(run, site):
    both = 'Component("solver", "a", "torchdyn_core:Euler"), Component("adjoint", "a", "torchdyn_core:Direct")'
    site.install("torchdyn-double", {"double": "double_plugin"}, double_plugin=site.manifest(both))
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


@pytest.mark.parametrize(
    ("distribution", "name", "group", "selection", "state", "healthy"),
    [
        ("torchdyn-thing", "thing", "torchdyn.v1", None, "loaded", True),
        ("torchdyn-thing", "thing", "torchdyn.v1", "", "disabled", True),
        ("stranger", "sde", "torchdyn.v1", None, "refused", False),
        ("torchdyn-thing", "Ill-Formed", "torchdyn.v1", None, "refused", False),
        ("torchdyn-thing", "thing", "torchdyn.v2", None, "incompatible", False),
        ("torchdyn-thing", "thing", "torchdyn.v1", "thing,nobody", "missing", False),
    ],
)
def test_exit_codes_tell_what_is_ill_from_what_is_left_out(
    run, site, monkeypatch, distribution, name, group, selection, state, healthy
):
    site.install(distribution, {name: "thing_plugin"}, group=group, thing_plugin=site.manifest())
    if selection is not None:
        monkeypatch.setenv("TORCHDYN_PLUGINS", selection)
    result = run("plugins", "--json")
    assert result.exit_code == (0 if healthy else 1)
    assert state in {row["state"] for row in json.loads(result.stdout)}
    assert bool(result.stderr) is not healthy
    result = run("doctor", "--json")
    assert result.exit_code == (0 if healthy else 1)
    found = {
        row["subject"]: row["healthy"] for row in json.loads(result.stdout) if row["subject"].startswith("plugin ")
    }
    assert all(found.values()) is healthy and f"plugin {'nobody' if state == 'missing' else name}" in found


def _off(tensor, value=0.0, slope=1.0):
    """The same tensor, but for its value or its derivative."""
    moved = tensor + value
    moved.register_hook(lambda gradient: slope * gradient)
    return moved


@pytest.mark.parametrize(
    ("wrong", "healthy"),
    [
        ({}, True),
        ({"value": 1e-3}, False),
        ({"slope": 1.001}, False),
        ({"slope": float("nan")}, False),
        ({"value": float("nan")}, False),
    ],
)
def test_doctor_sees_a_wrong_value_and_a_wrong_gradient(run, monkeypatch, wrong, healthy):
    solve = doctor.solve
    monkeypatch.setattr(
        doctor, "solve", lambda *a, **options: SimpleNamespace(ys=_off(solve(*a, **options).ys, **wrong))
    )
    result = run("doctor", "--json")
    (found,) = (row for row in json.loads(result.stdout) if row["subject"] == "solve")
    assert found["healthy"] is healthy and result.exit_code == (0 if healthy else 1)


def test_doctor_goes_on_where_a_solve_breaks(run, monkeypatch):
    def breaks(*args, **options):
        raise RuntimeError("illegal instruction")

    monkeypatch.setattr(doctor, "solve", breaks)
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)[-1] == {
        "subject": "solve",
        "finding": "raised RuntimeError: illegal instruction",
        "healthy": False,
    }


def test_doctor_looks_for_the_compiler(run, monkeypatch):
    def found():
        (row,) = (row for row in json.loads(run("doctor", "--json").stdout) if row["subject"] == "C++ compiler")
        return row["finding"]

    monkeypatch.setenv("CXX", sys.executable)
    assert found() == sys.executable
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "none (looked for no-such-compiler)" in found()


def test_listings_say_all_that_a_summary_says(run):
    lines = [line.rstrip() for line in run("list", "solver").stdout.splitlines()]
    assert any(line.endswith("Dormand-Prince: order 5, error estimate of 4") for line in lines)
    rows = json.loads(run("list", "solver", "--json").stdout)
    assert "Dormand-Prince: order 5, error estimate of 4" in {row["summary"] for row in rows}


def test_what_is_piped_on_is_not_broken_into_lines(run, broken, monkeypatch):
    monkeypatch.setenv("COLUMNS", "10")
    result = run("plugins")
    assert ["broken", "torchdyn-broken", "1.2", "failed", "0"] in [line.split() for line in result.stdout.splitlines()]
    assert len(result.stderr.splitlines()) == 1
    assert len(run("show", "broken.thing").stderr.splitlines()) == 1


def test_a_terminals_width_is_kept_to_but_words_stay_whole(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    widths = [len(line.rstrip()) for line in run("list", "adjoint").stdout.splitlines()[1:]]
    assert len(widths) > 3 and max(widths) <= 60
    monkeypatch.setenv("COLUMNS", "10")
    words = run("list", "adjoint").stdout.split()
    assert {"checkpointed", "continuous", "arXiv:1806.07366"} <= set(words)


def test_every_command_has_help(run):
    for command in ("plugins", "list", "show", "doctor"):
        assert run(command, "--help").exit_code == 0
    assert all(kind in run("list", "--help").stdout for kind in INTERFACES)


def test_without_the_extra_it_says_how_to_install_it():
    code = "import sys; sys.modules['typer'] = None; from torchdyn_core.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.strip() == 'torchdyn needs typer: pip install "torchdyn-core[cli]"'
