"""The process that measures: one core for every library, and compilers that start from nothing."""

from __future__ import annotations

import os
import tempfile

import torch


def one_core() -> None:
    """Keep this process, and what it starts, on one core.

    Call it before jax computes anything: XLA makes as many threads as it may run on then.
    """
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def forget_compiled() -> None:
    """Let torch compile everything anew: what earlier processes compiled lies on disk."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp(prefix="torchdyn-bench-")


def start_compilers() -> None:
    """Load both compilers, so that the first row does not pay for their imports."""
    import jax

    torch.compile(torch.sin, options={"cpp_wrapper": True})(torch.zeros(2))
    jax.block_until_ready(jax.jit(jax.numpy.sin)(0.0))
