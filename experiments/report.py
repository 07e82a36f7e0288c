"""The tables of experiments/README.md, one for each experiment."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from experiments.outcome import Outcome

README = Path(__file__).parent / "README.md"
PACKAGES = (
    "torchdyn-core", "torchdyn-augment", "torchdyn-datasets", "torchdyn-graph", "torchdyn-sde", "torch", "numpy",
)  # fmt: skip


def render(name: str, outcomes: Sequence[Outcome], seconds: float) -> str:
    """What an experiment found, as Markdown."""
    head = ["experiment", "figure", "value", "wanted", "met", "paper"]
    rows = [head, ["---"] * len(head), *(outcome.cells() for outcome in outcomes)]
    lines = [
        f"- machine: {os.cpu_count()} cores, {platform.system()}; {seconds:.0f} s",
        f"- versions: Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in PACKAGES),
        f"- command: `python -m nox -s experiments -- --only {name}`",
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    return "\n".join(lines)


def write(name: str, text: str) -> None:
    """Replace what stands between an experiment's markers in the README."""
    old, begin, end = README.read_text(), f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, tail = old[: old.index(begin) + len(begin)], old[old.index(end) :]
    README.write_text(f"{head}\n\n{text}\n\n{tail}")
