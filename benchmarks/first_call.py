"""The first call of a process: with nothing on disk, and where an earlier process has compiled the same."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from benchmarks import energy_network, mlp_training
from benchmarks.measure import Bound
from benchmarks.problem import Problem
from benchmarks.sides import ours

PROBLEMS: dict[str, Callable[[], Problem]] = {
    "mlp-64": lambda: mlp_training.problem(2, 64, 128),
    "energy": energy_network.problem,
}


def seconds(name: str, folder: str) -> float:
    """What the first call takes in a process of its own, with a folder for what torch compiles."""
    command = [sys.executable, "-m", "benchmarks.first_call", name]
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": folder}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def run(*, fast: bool) -> list[Bound]:
    """Measure."""
    found = []
    for name in list(PROBLEMS)[: 1 if fast else None]:
        with tempfile.TemporaryDirectory(prefix="torchdyn-bench-") as folder:
            first, second = (seconds(name, folder) for _ in range(2))
        found.append(
            Bound(
                what=f"{PROBLEMS[name]().name}, compiled: first call of a second process over that of the first",
                value=second / first,
                limit=0.5,
                form="{:.2f}",
                detail=f"{first:.1f} s with nothing on disk, {second:.1f} s in the second process; imports of torch's "
                "compilers included, that of torch not",
            )
        )
    return found


ROWS: dict[str, Callable[..., list[Bound]]] = {"first-call": run}


if __name__ == "__main__":
    contender = ours.compiled(PROBLEMS[sys.argv[1]]())
    start = time.perf_counter()
    contender.call()
    print(time.perf_counter() - start)
