"""Tapes: states come back in order, within the memory they were given, at the cost the schedule promises."""

import functools
import gc
import weakref

import pytest
import torch

from torchdyn_core import PID, Checkpointed, Fixed, OptionError, solve
from torchdyn_core.adjoint.tape import BoundedTape, FullTape, binomial_split

DTYPE = torch.float64


class Live:
    """Counts live states."""

    def __init__(self):
        self.now = self.most = 0

    def state(self, index):
        tensor = torch.tensor([float(index)])
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(tensor, self._gone)
        return tensor

    def _gone(self):
        self.now -= 1


SHORT = [(memory, steps) for memory in (3, 4, 5, 8, 32) for steps in (1, 2, 3, 7, 31, 32, 33, 64, 65, 257)]


@pytest.mark.parametrize(("memory", "steps"), [*SHORT, (5, 1000), (8, 1000), (32, 1000), (32, 2000)])
def test_a_bounded_tape_undoes_any_number_of_steps_within_its_memory(memory, steps):
    live, tape, advanced = Live(), BoundedTape(memory), 0
    state = live.state(0)
    for index in range(steps):
        tape.push(index, state, None)
        state = live.state(index + 1)
    del state

    def advance(record, y, carry):
        nonlocal advanced
        advanced += 1
        assert int(y) == record
        return live.state(record + 1), None

    order = []
    for index, record, y, _ in tape.backwards(advance):
        assert int(y) == index == record
        successor = live.state(index + 1)  # what the replayed step makes
        order.append(index)
        del y, successor
    assert order == list(range(steps - 1, -1, -1))
    assert live.most <= memory
    if memory == 32:
        assert advanced + steps <= 3 * steps
    gc.collect()


def test_a_full_tape_recomputes_nothing():
    tape = FullTape()
    for index in range(5):
        tape.push(index, index, None)
    assert [y for _, _, y, _ in tape.backwards(None)] == [4, 3, 2, 1, 0]


@functools.cache
def fewest(length, room):
    """Steps advanced to undo `length` steps with `room` states beside the first: by trying every split."""
    if length == 1:
        return 0
    if room == 0:
        return length * (length - 1) // 2
    return min(m + fewest(length - m, room - 1) + fewest(m, room) for m in range(1, length))


@pytest.mark.parametrize("room", [1, 2, 3, 6])
def test_the_binomial_split_is_optimal(room):
    def cost(length, room):
        if length == 1:
            return 0
        if room == 0:
            return length * (length - 1) // 2
        m = binomial_split(length, room)
        return m + cost(length - m, room - 1) + cost(m, room)

    for length in range(2, 48):
        assert cost(length, room) == fewest(length, room)


def test_a_thousand_adaptive_steps_with_32_states(monkeypatch):
    """Room for the 30 states kept and the two at work; at most three recomputations a step."""
    size = 500
    y0 = torch.linspace(0.5, 1.0, size, dtype=DTYPE, requires_grad=True)
    kept = []

    class Watched(BoundedTape):
        def _keep(self, index, y, carry):
            super()._keep(index, y, carry)
            kept.append(len(self._kept))

    monkeypatch.setattr("torchdyn_core.adjoint.checkpointed.BoundedTape", Watched)
    solution = solve(
        lambda t, y: -y + torch.sin(t), y0, torch.tensor([0.0, 10.0], dtype=DTYPE), solver="bosh3",
        controller=PID(rtol=1e-6, atol=1e-6, dt_max=0.01), adjoint=Checkpointed(memory=32),
    )  # fmt: skip
    solution.ys[-1].sum().backward()
    assert solution.stats.accepted >= 1000
    assert max(kept) <= 30
    assert solution.stats.replayed <= 3 * solution.stats.accepted


def test_memory_below_three_is_refused():
    for memory in (2, 0, -1, 2.5):
        with pytest.raises(OptionError, match="memory"):
            Checkpointed(memory=memory)


def test_a_checkpointed_solve_holds_one_state_a_step_and_its_gradient_needs_no_more():
    """Bytes that tensors hold after the forward pass: the slope over steps is one state."""
    size = 20_000
    held = []
    for steps in (50, 150):
        y0 = torch.ones(size, dtype=DTYPE, requires_grad=True)
        gc.collect()
        before = _bytes()
        solution = solve(lambda t, y: -y, y0, [0.0, 1.0], solver="rk4", controller=Fixed(steps=steps))
        held.append(_bytes() - before)
        del solution
    assert (held[1] - held[0]) / 100 <= 1.2 * size * 8


def _bytes():
    gc.collect()
    seen = {}
    stack = [o for o in gc.get_objects() if type(o) in (torch.Tensor, tuple, list)]
    for item in stack:
        for tensor in (item,) if isinstance(item, torch.Tensor) else [x for x in item if type(x) is torch.Tensor]:
            seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(seen.values())
