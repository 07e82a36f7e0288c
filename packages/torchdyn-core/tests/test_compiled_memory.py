"""`Checkpointed(memory=...)`, compiled: how many states are alive at any time, by what is allocated."""

import gc
import itertools
import shutil

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from torchdyn_core import Checkpointed, Fixed, solve
from torchdyn_core.compiled.driver import entries
from torchdyn_core.compiled.run import Chunk

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiled solves need a C++ compiler"
)

W = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
Y = torch.linspace(0, 1, 8209, dtype=torch.float64).requires_grad_()
AT_WORK = 8  # of one step and its gradient: states, slopes and cotangents


def gradient(adjoint, steps, compile):
    solution = solve(
        lambda t, y: -W * y * torch.cos(t), Y, [0.0, 1.0], solver="euler", controller=Fixed(steps=steps),
        adjoint=adjoint, compile=compile,
    )  # fmt: skip
    return solution.stats, torch.autograd.grad(solution.ys[-1].sum(), [Y, W])


def most_alive(*arguments):
    """The most memory that is allocated at any time, in states."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        gradient(*arguments)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(itertools.accumulate(changes)) / Y.nbytes


@pytest.mark.parametrize("compile", [False, "require"])
def test_no_more_states_than_memory_are_alive(compile):
    bounded, before = Checkpointed(memory=9), entries()
    stats, got = gradient(bounded, 60, compile)
    assert (entries() > before) == bool(compile)
    assert stats.replayed > 120 and stats.backward_evaluations == stats.replayed
    _, want = gradient(Checkpointed(), 60, False)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for steps in (60, 240):
        gradient(bounded, steps, compile)  # a loop that is new is compared with its steps, which takes copies
        assert most_alive(bounded, steps, compile) <= 9 + AT_WORK + 0.1  # and a few numbers for each step
    assert most_alive(Checkpointed(), 60, compile) > 60  # all of them are kept, and seen


@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=9)], ids=repr)
def test_what_a_gradient_was_made_from_goes_with_it(adjoint):
    gc.collect()
    gc.disable()  # what refers to itself would stay
    try:
        gradient(adjoint, 60, "require")
        assert not any(type(thing) is Chunk for thing in gc.get_objects())
    finally:
        gc.enable()
