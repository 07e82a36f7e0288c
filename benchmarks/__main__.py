"""Measure everything and write the tables: `python -m benchmarks [--fast]`."""

from __future__ import annotations

import argparse

import torch

from benchmarks import backward_memory, bounded_memory, lotka_volterra, mlp_training, report


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="only try whether everything runs; write nothing")
    fast = parser.parse_args().fast
    torch.set_num_threads(1)
    bounds = [*backward_memory.run(fast=fast), *bounded_memory.run(fast=fast)]
    comparisons = [*lotka_volterra.run(fast=fast), *mlp_training.run(fast=fast)]
    text = report.render(comparisons, bounds)
    print(text)
    if not fast:
        report.write(text)
        print(f"\nwritten: {report.README}")


if __name__ == "__main__":
    main()
