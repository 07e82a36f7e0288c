"""The commands."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from torchdyn_core.cli.describe import Description, describe
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
    _show(rows, as_json, hidden={"problem"})
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
    with _said_on_stderr():
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
    try:
        description = describe(_kind_of(name, kind), name)
    except TorchdynError as error:
        _fail(str(error))
    if as_json:
        print(json.dumps(description.as_dict(), indent=2))
    else:
        _print_description(description)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Versions, devices, the C++ compiler, the plugins, a tiny solve and its gradient. Exit code 1 if one is ill."""
    findings = examine()
    _show([finding.as_dict() for finding in findings], as_json, style=_finding_style)
    raise typer.Exit(0 if all(finding.healthy for finding in findings) else 1)


def _kind_of(name: str, kind: str | None) -> str:
    """The kind of a component that is asked for by name alone."""
    if kind is not None:
        return kind
    with _said_on_stderr():
        components = default_registry().components()
    kinds = [known for known, full in components if full == name]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise UnknownComponentError(f"{name!r} is of kinds {', '.join(kinds)}; wanted --kind with one of them")
    if "." in name:
        default_registry().get("solver", name)  # says what is the matter with its plugin, if that is the matter
    raise UnknownComponentError(f"nothing is named {name!r}{close_matches(name, {full for _, full in components})}")


def _show(rows: list[dict[str, Any]], as_json: bool, *, hidden: set[str] = frozenset(), style: Any = None) -> None:  # type: ignore[assignment]
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
    Console().print(table)


def _cell(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else escape(str(value))


def _finding_style(row: dict[str, Any]) -> str | None:
    return None if row["healthy"] else "red"


def _print_description(description: Description) -> None:
    console = Console(highlight=False, soft_wrap=True)  # docstrings bring their own line breaks
    console.print(f"[bold]{escape(description.name)}[/bold]  {escape(description.summary)}\n")
    for label, value in description.facts().items():
        console.print(f"  {label:<13} {escape(value)}")
    for label, option in zip(["options"] + [""] * len(description.options), description.options, strict=False):
        typed = f"{option['name']}: {option['type']}" if option["type"] else option["name"]
        console.print(f"  {label:<13} {escape(typed)}" + escape(f" = {option['default']}" if option["default"] else ""))
    console.print(f"\n{escape(description.docstring)}")


@contextmanager
def _said_on_stderr() -> Iterator[None]:
    """Broken plugins are spoken of in one line each, not in Python's form of a warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        yield
    for warning in caught:
        _complain(str(warning.message))


def _complain(message: str) -> None:
    Console(stderr=True).print(f"[yellow]![/yellow] {escape(message)}", highlight=False)


def _fail(message: str, code: int = 1) -> None:
    Console(stderr=True).print(f"[red]error:[/red] {escape(message)}", highlight=False)
    raise typer.Exit(code)
