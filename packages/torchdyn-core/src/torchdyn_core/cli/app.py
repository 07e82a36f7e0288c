"""The commands."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from torchdyn_core.cli.describe import Description, describe, spoken
from torchdyn_core.cli.doctor import examine
from torchdyn_core.discovery import State
from torchdyn_core.errors import PluginWarning, TorchdynError, UnknownComponentError, close_matches
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
    with _strangers_at_bay():
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
    _show(rows, as_json, hidden=frozenset({"problem"}))
    broken = [plugin for plugin in found if plugin.state in _BAD]
    for plugin in broken:
        _complain(plugin.problem)
    raise typer.Exit(1 if broken else 0)


@app.command(name="list")
def list_components(
    kind: Annotated[str | None, typer.Argument(help=", ".join(INTERFACES) + ". Default: all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Components by name, with a line on each and the paper they are from."""
    if kind is not None and kind not in INTERFACES:
        _fail(f"no kind of component is named {kind!r}{close_matches(kind, INTERFACES)}", code=2)
    with _strangers_at_bay():
        components = default_registry().components()
    rows = [
        {"kind": known, "name": name, "summary": component.summary, "paper": component.paper}
        for (known, name), component in components.items()
        if kind in (None, known)
    ]
    _show(rows, as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="As `torchdyn list` prints it: dopri5, sde.srk.")],
    kind: Annotated[str | None, typer.Option(help="Where components of two kinds share a name.")] = None,
    as_json: AsJson = False,
) -> None:
    """One component: its signature and options, its order, the paper, the docstring. Exit code 1 if there is none."""
    if kind is not None and kind not in INTERFACES:
        _fail(f"no kind of component is named {kind!r}{close_matches(kind, INTERFACES)}", code=2)
    with _strangers_at_bay():
        description = describe(kind or _kind_of(name), name)
    if as_json:
        print(json.dumps(description.as_dict(), indent=2))
    else:
        _print_description(description)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Versions, devices, the C++ compiler, the plugins, a tiny solve and its gradient. Exit code 1 if one is ill."""
    with _strangers_at_bay():
        findings = examine()
    _show([finding.as_dict() for finding in findings], as_json, style=_finding_style)
    raise typer.Exit(0 if all(finding.healthy for finding in findings) else 1)


def _kind_of(name: str) -> str:
    """The kind of a component that is asked for by name alone."""
    kinds = [component.kind for _, component in default_registry().bearers(name)]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise UnknownComponentError(f"{name!r} is of kinds {', '.join(kinds)}; wanted --kind with one of them")
    known = {full for _, full in default_registry().components()}
    raise UnknownComponentError(f"nothing is named {name!r}{close_matches(name, known)}")


def _show(
    rows: list[dict[str, Any]], as_json: bool, *, hidden: frozenset[str] = frozenset(), style: Any = None
) -> None:
    """A table for people or JSON for machines."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    columns = [column for column in (rows[0] if rows else {}) if column not in hidden and any(r[column] for r in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "kind", "plugin"))
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns), style=style(row) if style else None)
    Console(emoji=False).print(table)


def _cell(value: object) -> str:
    return escape(spoken(value))


def _finding_style(row: dict[str, Any]) -> str | None:
    return None if row["healthy"] else "red"


def _print_description(description: Description) -> None:
    console = Console(highlight=False, soft_wrap=True, emoji=False)  # docstrings bring their own line breaks
    console.print(f"[bold]{escape(description.name)}[/bold]  {escape(description.summary)}\n")
    for label, value in description.facts().items():
        console.print(f"  {label:<13} {escape(value)}")
    for index, option in enumerate(description.options):
        label = "" if index else "options"
        typed = f"{option['name']}: {option['type']}" if option["type"] else option["name"]
        console.print(f"  {label:<13} {escape(typed)}" + escape(f" = {option['default']}" if option["default"] else ""))
    console.print(f"\n{escape(description.docstring)}")


@contextmanager
def _strangers_at_bay() -> Iterator[None]:
    """Plugins may be loaded here: what they print goes to stderr, broken ones are spoken of in a line each.

    Standard output is for the answer, which may have to be JSON; the file descriptor is turned too, for what compiled
    libraries print.
    """
    sys.stdout.flush()
    with warnings.catch_warnings(record=True) as caught, _turned(1, 2), redirect_stdout(sys.stderr):
        warnings.simplefilter("always", PluginWarning)
        try:
            yield
        except TorchdynError as error:
            failure: TorchdynError | None = error
        else:
            failure = None
    for warning in caught:
        if issubclass(warning.category, PluginWarning):
            _complain(str(warning.message))
    if failure is not None:
        _fail(str(failure))


@contextmanager
def _turned(descriptor: int, other: int) -> Iterator[None]:
    """What is written to one file descriptor goes to another."""
    kept = os.dup(descriptor)
    try:
        os.dup2(other, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True, emoji=False).print(f"[yellow]![/yellow] {escape(message)}", highlight=False)


def _fail(message: str, code: int = 1) -> None:
    Console(stderr=True, soft_wrap=True, emoji=False).print(f"[red]error:[/red] {escape(message)}", highlight=False)
    raise typer.Exit(code)
