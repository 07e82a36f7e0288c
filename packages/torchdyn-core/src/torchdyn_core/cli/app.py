"""The commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from torchdyn_core.cli.describe import describe, kind_of
from torchdyn_core.cli.doctor import examine
from torchdyn_core.cli.output import among_strangers, complain, fail, print_description, print_json, print_table
from torchdyn_core.discovery import State
from torchdyn_core.errors import close_matches
from torchdyn_core.plugin import INTERFACES
from torchdyn_core.registry import default_registry

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Neural differential equations for PyTorch: what is installed, what it is called, whether it works.",
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]

_BAD = {State.FAILED, State.REFUSED, State.INCOMPATIBLE, State.MISSING}


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """Every installed plugin: distribution, version, state, what is wrong. Exit code 1 if anything is."""
    with among_strangers():
        found = default_registry().report()
    rows = [
        {
            "plugin": plugin.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "state": str(plugin.state),
            "components": len(plugin.components),
            "problem": plugin.problem,
        }
        for plugin in found
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, hidden={"problem"})
    broken = [plugin for plugin in found if plugin.state in _BAD]
    for plugin in broken:
        complain(plugin.problem)
    raise typer.Exit(1 if broken else 0)


@app.command(name="list")
def list_components(
    kind: Annotated[str | None, typer.Argument(help=", ".join(INTERFACES) + ". Default: all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Components by name, with a line on each and the paper they are from. Exit code 2 if there is no such kind."""
    _check_kind(kind)
    with among_strangers():
        components = default_registry().components()
    rows = [
        {"kind": known, "name": name, "summary": component.summary, "paper": component.paper}
        for (known, name), component in components.items()
        if kind in (None, known)
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="As `torchdyn list` prints it: dopri5, sde.srk.")],
    kind: Annotated[str | None, typer.Option(help="Where components of two kinds share a name.")] = None,
    as_json: AsJson = False,
) -> None:
    """One component: its signature and options, its order, the paper, the docstring.

    Exit code 1 if there is none of this name, 2 if there is no such kind.
    """
    _check_kind(kind)
    with among_strangers():
        description = describe(kind_of(name) if kind is None else kind, name)
    if as_json:
        print_json(description.as_dict())
    else:
        print_description(description)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Versions, devices, the C++ compiler, the plugins, a tiny solve and its gradient. Exit code 1 if one is ill."""
    with among_strangers():
        findings = examine()
    rows = [finding.as_dict() for finding in findings]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, style=_finding_style)
    raise typer.Exit(0 if all(finding.healthy for finding in findings) else 1)


def _check_kind(kind: str | None) -> None:
    if kind is not None and kind not in INTERFACES:
        fail(f"no kind of component is named {kind!r}{close_matches(kind, INTERFACES)}", code=2)


def _finding_style(row: dict[str, Any]) -> str | None:
    return None if row["healthy"] else "red"
