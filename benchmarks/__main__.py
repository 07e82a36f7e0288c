"""Measure everything and write the tables: `python -m benchmarks [--fast] [--only NAME ...]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from benchmarks import (
    backward_memory,
    bounded_memory,
    energy_network,
    lotka_volterra,
    mlp_training,
    process,
    report,
    van_der_pol,
)

FAMILIES = (backward_memory, bounded_memory, lotka_volterra, mlp_training, energy_network, van_der_pol)
ROWS: dict[str, Callable[..., list[report.Finding]]] = {k: row for family in FAMILIES for k, row in family.ROWS.items()}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, epilog=f"Names: {', '.join(ROWS)}."
    )
    parser.add_argument("--fast", action="store_true", help="only try whether everything runs; write nothing")
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=ROWS, help="measure these; write nothing")
    arguments = parser.parse_args()
    writes = not (arguments.fast or arguments.only)
    process.one_core()
    if writes:
        process.forget_compiled()
    process.start_compilers()
    findings = []
    for name in arguments.only or ROWS:
        start = time.perf_counter()
        findings += ROWS[name](fast=arguments.fast)
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    text = report.render(findings)
    print(text)
    if writes:
        report.write(text)
        print(f"\nwritten: {report.README}")


if __name__ == "__main__":
    main()
