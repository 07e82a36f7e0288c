"""The tables of benchmarks/README.md."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import Bound, Comparison

README = Path(__file__).parent / "README.md"
SIDE = ["problem", "options", "side", "accepted", "rejected", "evaluations", "error", "gradient error", "time"]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def render(comparisons: list[Comparison], bounds: list[Bound]) -> str:
    """All that was measured, as Markdown."""
    return "\n\n".join(
        [
            _machine(),
            "### Against peers",
            _table(
                ["problem", "ours", "theirs", "per", "ratio", "quartiles", "target", "same work", "met"],
                [
                    [
                        c.problem,
                        c.ours.name,
                        c.theirs.name,
                        c.per,
                        f"**{c.ratio:.2f}**",
                        "{:.2f} to {:.2f}".format(*c.spread),
                        f">= {c.target:g}",
                        _yes(c.fair),
                        _yes(c.met),
                    ]
                    for c in comparisons
                ],
            ),
            "### What each side did",
            _table(SIDE, _sides(comparisons)),
            "### Bounds",
            _table(
                ["quantity", "measured", "limit", "met", "from"],
                [
                    [b.what, f"**{b.form.format(b.value)}**", f"<= {b.form.format(b.limit)}", _yes(b.met), b.detail]
                    for b in bounds
                ],
            ),
        ]
    )


def write(text: str) -> None:
    """Replace what stands between the markers of the README."""
    old = README.read_text()
    head, tail = old[: old.index(BEGIN) + len(BEGIN)], old[old.index(END) :]
    README.write_text(f"{head}\n\n{text}\n\n{tail}")


def _sides(comparisons: list[Comparison]) -> list[list[str]]:
    rows = []
    for c in comparisons:
        for side in (c.ours, c.theirs):
            work = side.work
            gradient = "" if work.gradient_error is None else f"{work.gradient_error:.1e}"
            row = [
                c.problem,
                c.options,
                side.name,
                str(work.accepted),
                str(work.rejected),
                str(work.evaluations),
                f"{work.error:.1e}",
                gradient,
                f"{1e3 * side.median:.2f} ms",
            ]
            if row not in rows:  # a side may stand in several comparisons
                rows.append(row)
    return rows


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _yes(value: bool) -> str:
    return "yes" if value else "**no**"


def _machine() -> str:
    packages = ("torchdyn-core", "torch", "torchdiffeq", "numpy", "scipy")
    return "\n".join(
        [
            f"- machine: {_processor()}, {os.cpu_count()} cores, {platform.system()}; one thread",
            f"- versions: Python {platform.python_version()}, {', '.join(f'{p} {version(p)}' for p in packages)}",
            "- command: `python -m nox -s bench`",
        ]
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
