"""Measure everything and write the tables and figures: `python -m benchmarks [--fast] [--only NAME ...]`."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
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
    process,
    report,
    van_der_pol,
    work_precision,
)
from benchmarks.figures import Figure

FAMILIES = (
    backward_memory,
    bounded_memory,
    lotka_volterra,
    mlp_training,
    energy_network,
    van_der_pol,
    first_call,
    growth,
    work_precision,
    graph_layers,
    graph_solve,
)
ROWS: dict[str, Callable[..., list[report.Finding]]] = {k: row for family in FAMILIES for k, row in family.ROWS.items()}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=f"Names: {', '.join(ROWS)}."
    )
    parser.add_argument("--fast", action="store_true", help="only try whether everything runs; write nothing here")
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=ROWS, help="measure these; write nothing here")
    arguments = parser.parse_args()
    writes = not (arguments.fast or arguments.only)
    process.one_core()
    if writes:
        process.forget_compiled()
    process.start_compilers()
    findings, failed = _measured(arguments.only or ROWS, fast=arguments.fast)
    writes = writes and not failed
    text = report.render(findings)
    print(text)
    folder = report.README.parent if writes else Path(tempfile.mkdtemp(prefix="torchdyn-bench-"))
    written = [finding.save(folder) for finding in findings if isinstance(finding, Figure)]
    if writes:
        report.write(text)
        written.append(report.README)
    for file in written:
        print(f"written: {file}", file=sys.stderr)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _measured(names: Iterable[str], *, fast: bool) -> tuple[list[report.Finding], list[str]]:
    """What was found, and the names of rows that failed: one must not cost an hour of others."""
    findings, failed = [], []
    for name in names:
        start = time.perf_counter()
        try:
            findings += ROWS[name](fast=fast)
        except Exception:
            traceback.print_exc()
            failed.append(name)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return findings, failed


if __name__ == "__main__":
    main()
