"""Ctrl-C in a compiled solve: heard between entries into the loop, which are short, and nothing is left half done."""

import shutil
import signal
import threading

import pytest
import torch

from torchdyn_core import Fixed, solve
from torchdyn_core.compiled import kernel
from torchdyn_core.compiled.driver import entries
from torchdyn_core.compiled.forward import Forward
from torchdyn_core.compiled.pace import ENTRY, Pace

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)

W = torch.eye(32, dtype=torch.float64)
Y = torch.ones(32, 32, dtype=torch.float64)


def solved(steps, compile="require", rate=1.0):
    with torch.no_grad():
        return solve(
            lambda t, y: -rate * y @ W, Y, [0.0, steps / 1024], solver="euler", controller=Fixed(dt=1 / 1024),
            max_steps=10**9, compile=compile,
        ).ys[-1]  # fmt: skip


@pytest.fixture
def limits(monkeypatch):
    """The most steps that each entry into a loop was to have tried."""
    seen, call = [], Forward.__call__

    def noted(self, counters, integral, cursor, limit, buffers, outer):
        seen.append(int(limit))
        return call(self, counters, integral, cursor, limit, buffers, outer)

    monkeypatch.setattr(Forward, "__call__", noted)
    return seen


@pytest.mark.skipif(
    not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread(),
    reason="needs a signal to the main thread",
)
def test_an_interrupt_is_heard_within_a_solve_and_the_next_one_is_sound(limits):
    want = solved(64)
    usual = signal.signal(signal.SIGALRM, signal.default_int_handler)
    total = 10**6  # ten seconds and more, if an entry had no end
    try:
        signal.setitimer(signal.ITIMER_REAL, 3 * ENTRY)
        with pytest.raises(KeyboardInterrupt):
            solved(total)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    assert max(limits) < total
    before = entries()
    assert torch.equal(solved(64), want) and entries() == before + 1


def test_an_interrupt_while_a_loop_is_compiled_leaves_no_loop(monkeypatch):
    compile_fx, calls = kernel.compile_fx, []

    def interrupted(*args, **options):
        calls.append(args)
        if len(calls) == 2:  # the loop, behind the kernel that starts it
            raise KeyboardInterrupt
        return compile_fx(*args, **options)

    monkeypatch.setattr(kernel, "compile_fx", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solved(16, rate=2.0)
    torch.testing.assert_close(solved(16, rate=2.0), solved(16, False, rate=2.0), rtol=1e-12, atol=0)
    assert len(calls) == 3  # what was there is used again


def test_an_entry_is_as_long_as_the_last_ones_pace_allows(limits):
    solved(64, rate=3.0)
    first = limits[0]
    limits.clear()
    solved(64, rate=3.0)
    assert first < 64 and len(limits) == 1, "a short solve is one entry, once it is known to be short"
    pace = Pace()
    assert pace.steps(10) == first
    pace.took(ENTRY, steps=100, work=10)
    assert [pace.steps(work) for work in (1, 10, 1000, 10**9)] == [100, 100, 1, 1]
