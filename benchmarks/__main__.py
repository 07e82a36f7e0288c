"""Measure everything and write the tables and figures: `python -m benchmarks [--fast] [--group NAME ...]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import (
    backward_memory,
    bounded_memory,
    energy_network,
    first_call,
    graph_layers,
    graph_solve,
    growth,
    lotka_volterra,
    mlp_training,
    noise,
    noise_growth,
    process,
    report,
    van_der_pol,
    work_precision,
)
from benchmarks.figures import Figure

GROUPS = {
    "solvers": (
        backward_memory, bounded_memory, lotka_volterra, mlp_training, energy_network, van_der_pol, first_call, growth,
        work_precision,
    ),
    "graphs": (graph_layers, graph_solve),
    "noise": (noise, noise_growth),
}  # fmt: skip
Row = Callable[..., list[report.Finding]]
ROWS: dict[str, dict[str, Row]] = {
    group: {name: row for family in families for name, row in family.ROWS.items()} for group, families in GROUPS.items()
}
NAMES = [name for rows in ROWS.values() for name in rows]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=f"Names: {', '.join(NAMES)}."
    )
    parser.add_argument("--fast", action="store_true", help="only try whether everything runs; write nothing here")
    parser.add_argument("--group", nargs="+", choices=GROUPS, default=list(GROUPS), help="measure and write these")
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=NAMES, help="measure these; write nothing here")
    arguments = parser.parse_args()
    writes = not (arguments.fast or arguments.only)
    process.one_core()
    if writes:
        process.forget_compiled()
    process.start_compilers()
    failures: list[str] = []
    for group in arguments.group:
        rows = {name: row for name, row in ROWS[group].items() if name in (arguments.only or NAMES)}
        if rows:
            failures += _group(group, rows, fast=arguments.fast, writes=writes)
    if failures:
        sys.exit(f"failed: {', '.join(failures)}")


def _group(group: str, rows: Mapping[str, Row], *, fast: bool, writes: bool) -> list[str]:
    """Measure and show rows of a group; write its tables and figures where all went well."""
    findings, failed = _measured(rows, fast=fast)
    writes = writes and not failed
    text = report.render(group, findings)
    print(text)
    folder = report.README.parent if writes else Path(tempfile.mkdtemp(prefix="torchdyn-bench-"))
    written = [finding.save(folder) for finding in findings if isinstance(finding, Figure)]
    if writes:
        report.write(group, text)
        written.append(report.README)
    for file in written:
        print(f"written: {file}", file=sys.stderr)
    return failed


def _measured(rows: Mapping[str, Row], *, fast: bool) -> tuple[list[report.Finding], list[str]]:
    """What was found, and the names of rows that failed: one must not cost an hour of others."""
    findings, failed = [], []
    for name, row in rows.items():
        start = time.perf_counter()
        try:
            findings += row(fast=fast)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return findings, failed


if __name__ == "__main__":
    main()
