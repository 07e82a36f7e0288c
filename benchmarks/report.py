"""The tables of benchmarks/README.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.measure import Bound, Comparison, Side

README = Path(__file__).parent / "README.md"
PACKAGES = {
    "solvers": ("torchdyn-core", "torch", "torchdiffeq", "torchode", "diffrax", "jax", "numpy", "scipy"),
    "noise": ("torchdyn-core", "torchdyn-sde", "torch", "torchsde", "diffrax", "jax", "numpy"),
    "graphs": ("torchdyn-core", "torchdyn-graph", "torch", "dgl", "torch-geometric", "numpy"),
}
"""Whose versions are told, for each group of rows."""

Finding = Comparison | Bound | Figure


def render(group: str, findings: Sequence[Finding]) -> str:
    """What was measured of a group, as Markdown."""
    comparisons = [finding for finding in findings if isinstance(finding, Comparison)]
    bounds = [finding for finding in findings if isinstance(finding, Bound)]
    figures = [finding for finding in findings if isinstance(finding, Figure)]
    compiled = [c for c in comparisons if c.ours.first_call is not None]
    eager = [c for c in comparisons if c.ours.first_call is None]
    sections = {
        "Compiled, against peers": _ratios(compiled),
        "Compiled, what each side did": _work(compiled),
        "Compiled, what the first call takes": _compilation(compiled),
        "Eager, against peers": _ratios(eager),
        "Eager, what each side did": _work(eager),
        "Bounds": _bounds(bounds),
        "Figures": _figures(figures),
    }
    return "\n\n".join([_machine(group), *(f"### {title}\n\n{text}" for title, text in sections.items() if text)])


def write(group: str, text: str) -> None:
    """Replace what stands between a group's markers in the README."""
    old, begin, end = README.read_text(), f"<!-- {group}: begin -->", f"<!-- {group}: end -->"
    head, tail = old[: old.index(begin) + len(begin)], old[old.index(end) :]
    README.write_text(f"{head}\n\n{text}\n\n{tail}")


def _ratios(comparisons: Sequence[Comparison]) -> str:
    head = ["problem", "ours", "theirs", "per", "ratio", "quartiles", "target", "same work", "met"]
    rows = [
        [
            c.problem,
            c.ours.name,
            c.theirs.name,
            c.per,
            f"**{c.ratio:.2f}**",
            "{:.2f} to {:.2f}".format(*c.spread),
            "" if c.target is None else f">= {c.target:g}",
            _yes(c.fair),
            _yes(c.met),
        ]
        for c in comparisons
    ]
    return _table(head, rows)


def _bounds(bounds: Sequence[Bound]) -> str:
    rows = [
        [b.what, f"**{b.form.format(b.value)}**", f"<= {b.form.format(b.limit)}", _yes(b.met), b.detail] for b in bounds
    ]
    return _table(["quantity", "measured", "limit", "met", "from"], rows)


def _figures(figures: Sequence[Figure]) -> str:
    return "\n\n".join(f"![{figure.caption}]({figure.name}.png)\n\n{figure.caption}." for figure in figures)


def _sides(comparisons: Sequence[Comparison]) -> list[tuple[Comparison, Side]]:
    """Every side once: ours stands in several comparisons."""
    seen = {}
    for c in comparisons:
        for side in (c.ours, c.theirs):
            seen.setdefault((c.problem, side.name), (c, side))
    return list(seen.values())


def _work(comparisons: Sequence[Comparison]) -> str:
    head = ["problem", "options", "side", "accepted", "rejected", "evaluations", "error", "gradient error", "time"]
    rows = []
    for c, side in _sides(comparisons):
        work = side.work
        rows.append(
            [
                c.problem,
                c.options,
                side.name,
                str(work.accepted),
                str(work.rejected),
                "" if work.evaluations is None else str(work.evaluations),
                f"{work.error:.1e}",
                "" if work.gradient_error is None else f"{work.gradient_error:.1e}",
                f"{1e3 * side.median:.3g} ms",
            ]
        )
    return _table(head, rows)


def _compilation(comparisons: Sequence[Comparison]) -> str:
    rows = [
        [c.problem, side.name, f"{side.first_call:.1f} s", f"{1e3 * side.median:.3g} ms"]
        for c, side in _sides(comparisons)
        if side.first_call is not None
    ]
    return _table(["problem", "side", "first call", "later calls"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; a problem's name stands in its first row only."""
    if not rows:
        return ""
    shown = [["" if above and above[0] == row[0] else row[0], *row[1:]] for above, row in zip([[], *rows], rows)]  # noqa: B905
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *shown])


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "**no**"


def _machine(group: str) -> str:
    versions = ", ".join(f"{package} {version(package)}" for package in PACKAGES[group])
    return "\n".join(
        [
            f"- machine: {_processor()}, {os.cpu_count()} cores, {platform.system()}; one core and thread, or as told",
            f"- versions: Python {platform.python_version()}, {versions}",
            f"- command: `python -m nox -s bench -- --group {group}`",
        ]
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
