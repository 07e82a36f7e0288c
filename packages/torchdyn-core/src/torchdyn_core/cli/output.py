"""What the command line prints: its own words and data on stdout, everybody else's on stderr.

What strangers say of themselves, be it a summary or a docstring, is printed as it stands: as `Text`, which knows
neither markup nor emoji.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from torchdyn_core.cli.describe import Description
from torchdyn_core.errors import PluginWarning, TorchdynError

__all__ = ["among_strangers", "complain", "fail", "keep_stdout", "print_description", "print_json", "print_table"]

_PROSE = ("summary", "finding")
"""Columns of several words, one in a table: it gives way where a terminal is narrow."""

_ENDLESS = 1_000_000  # characters: wider than any table


def keep_stdout() -> None:
    """Make `sys.stdout` a stream of its own, and let what else is written to file descriptor 1 go to stderr.

    Libraries written in C write there without asking Python, and some only when the process ends. What the terminal's
    encoding lacks is printed as an escape.
    """
    if sys.stdout is not sys.__stdout__ or sys.stdout is None or sys.stderr is None:  # caught by somebody, or closed
        return
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    encoding = sys.stdout.encoding
    sys.stdout = open(own, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115


@contextmanager
def among_strangers() -> Iterator[None]:
    """Plugins run in here: what they print goes to stderr, and broken ones are spoken of in one line each.

    Warnings of them never raise, whatever Python is told to do with warnings: they are what the user asked to see. An
    error of torchdyn's own is told in one line too, and ends the command with exit code 1.
    """
    with warnings.catch_warnings(record=True) as caught, redirect_stdout(sys.stderr):
        warnings.simplefilter("always", PluginWarning)
        try:
            yield
        except TorchdynError as error:
            fail(str(error))
        finally:
            for warning in caught:
                complain(str(warning.message))


def complain(message: str) -> None:
    """Say what is wrong, and go on."""
    _console(stderr=True).print(Text.assemble(("!", "yellow"), " ", message))


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong, and end the command."""
    _console(stderr=True).print(Text.assemble(("error:", "red"), " ", message))
    raise typer.Exit(code)


def print_json(data: Any) -> None:
    """For machines."""
    print(json.dumps(data, indent=2))


def print_table(
    rows: list[dict[str, Any]],
    *,
    hidden: Collection[str] = (),
    style: Callable[[dict[str, Any]], str | None] = lambda row: None,
) -> None:
    """For people: a line for each row. Columns that are hidden or empty are left out.

    A terminal's width is kept to as far as words go into it; what is read by a program is not broken at all.
    """
    columns = [name for name in (rows[0] if rows else {}) if name not in hidden and any(row[name] for row in rows)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in _PROSE)
    for row in rows:
        table.add_row(*(Text(_in_words(row[column])) for column in columns), style=style(row))
    console = _console()
    needed = console.measure(table, options=console.options.update_width(_ENDLESS))
    console.width = max(console.width, needed.minimum) if console.is_terminal else max(needed.maximum, 1)
    console.print(table, soft_wrap=False)


def print_description(description: Description) -> None:
    """A component, for people."""
    console = _console()
    console.print(Text.assemble((description.name, "bold"), "  ", description.summary, "\n"))
    for label, value in description.facts().items():
        console.print(_fact(label, _in_words(value)))
    for index, option in enumerate(description.options):
        typed = f": {option['type']}" if option["type"] else ""
        default = f" = {option['default']}" if option["default"] else ""
        console.print(_fact("" if index else "options", f"{option['name']}{typed}{default}"))
    console.print(Text(f"\n{description.docstring}"))


def _fact(label: str, value: str) -> Text:
    return Text(f"  {label:<13} {value}")


def _in_words(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _console(*, stderr: bool = False) -> Console:
    """A console that leaves line breaks to the text and to the terminal: what is piped on comes in whole lines."""
    return Console(stderr=stderr, soft_wrap=True)
