"""Compiled solves on the kit: where they are tried, which ones, and how close to eager ones they have to be."""

from __future__ import annotations

import os
import warnings

import pytest
import torch

from torchdyn_core.errors import OptionError
from torchdyn_core.solution import Solution

__all__ = ["agree_on_steps", "skip_unless_tried"]

CASES = "TORCHDYN_COMPILED_CASES"


def skip_unless_tried(usual: bool) -> None:
    """Skip a compiled solve that was not asked for, or cannot be compiled here.

    Each takes seconds of compilation, so usually a component has to pass one of them; all of them with
    `TORCHDYN_COMPILED_CASES=all` in the environment.

    Arguments:
        usual: Whether it is the one that is always tried.
    """
    asked = os.environ.get(CASES) or "usual"
    if asked not in ("usual", "all"):
        raise OptionError(f"{CASES}={asked!r}; wanted 'all', or 'usual' for one compiled solve a component")
    if not usual and asked != "all":
        pytest.skip(f"compiling takes long: this one is tried with {CASES}=all")
    with warnings.catch_warnings():  # torch's own, when its compilers are imported; not to be a stranger's errors
        warnings.simplefilter("ignore", DeprecationWarning)
        from torchdyn_core.compiled.driver import TESTED, is_tested
    if not is_tested():
        pytest.skip(f"torch {torch.__version__}; compiled solves are tested with torch {', '.join(TESTED)}")
    if not _has_compiler():
        pytest.skip("torch finds no C++ compiler, which compiled solves need; CXX in the environment may name one")


def _has_compiler() -> bool:
    """Whether torch finds a C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


def agree_on_steps(got: Solution, want: Solution, *, fixed: bool) -> bool:
    """Whether a compiled and an eager solve took the same number of steps; raises where they are too far apart.

    Rounding may turn a decision of step-size control, and no more: their numbers are within 1 %.

    Arguments:
        got: The compiled solve.
        want: The eager one.
        fixed: Whether steps are fixed: then there is nothing to turn.
    """
    counts = [[torch.as_tensor(getattr(s.stats, n)) for s in (got, want)] for n in ("steps", "accepted", "rejected")]
    for a, b in counts[:2]:
        assert bool(((a - b).abs() <= (0.0 if fixed else 0.01) * b).all()), f"{a} steps compiled, {b} eager"
    return all(torch.equal(a, b) for a, b in counts)
