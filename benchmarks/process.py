"""The process that measures: one core for every library, and compilers that start from nothing."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path

import torch


def one_core() -> None:
    """Keep this process, and what it starts, on one core: the idlest.

    Call it before jax computes anything: XLA makes as many threads as it may run on then.
    """
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        before = _idle()
        time.sleep(0.5)
        after = _idle()
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(allowed, key=lambda core: after.get(core, 0) - before.get(core, 0))})


def _idle() -> dict[int, int]:
    """How long each core has been idle, in ticks."""
    stat = Path("/proc/stat")
    lines = stat.read_text().splitlines() if stat.exists() else []
    cores = [line.split() for line in lines if line.startswith("cpu") and not line.startswith("cpu ")]
    return {int(core[0][3:]): int(core[4]) for core in cores}


def forget_compiled() -> None:
    """Let torch compile everything anew: what earlier processes compiled lies on disk."""
    folder = tempfile.mkdtemp(prefix="torchdyn-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder


def start_compilers() -> None:
    """Load both compilers, so that the first row does not pay for their imports."""
    import jax

    torch.compile(torch.sin, options={"cpp_wrapper": True})(torch.zeros(2))
    jax.block_until_ready(jax.jit(jax.numpy.sin)(0.0))
