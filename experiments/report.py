"""The table of experiments/README.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from experiments.outcome import Outcome

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PACKAGES = ("torchdyn-core", "torchdyn-augment", "torchdyn-datasets", "torchdyn-graph", "torch", "numpy")


def render(outcomes: Sequence[Outcome], seconds: dict[str, float]) -> str:
    """All that was found, as Markdown."""
    head = ["experiment", "figure", "value", "wanted", "met", "paper"]
    rows = [head, ["---"] * len(head), *(outcome.cells() for outcome in outcomes)]
    lines = [
        f"- machine: {os.cpu_count()} cores, {platform.system()}",
        f"- versions: Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in PACKAGES),
        "- command: `python -m nox -s experiments`",
        "- time: " + ", ".join(f"{name} {time:.0f} s" for name, time in seconds.items()),
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines)


def write(text: str) -> None:
    """Replace what stands between the markers of the README."""
    old = README.read_text()
    head, tail = old[: old.index(BEGIN) + len(BEGIN)], old[old.index(END) :]
    README.write_text(f"{head}\n\n{text}\n\n{tail}")
