"""Tapes: states come back in order, within the memory they were given, at the cost the schedule promises."""

import functools
import gc
import itertools
import weakref

import pytest
import torch

from torchdyn_core import PID, Backsolve, Checkpointed, Direct, Fixed, OptionError, solve
from torchdyn_core import DormandPrince5 as Dopri5
from torchdyn_core.adjoint.slab import Slabs
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


SHORT = [(memory, steps) for memory in (4, 5, 8, 32) for steps in (1, 2, 3, 7, 31, 32, 33, 64, 65, 257)]


@pytest.mark.parametrize(("memory", "steps"), [*SHORT, (5, 1000), (8, 1000), (32, 1000), (32, 2000)])
def test_a_bounded_tape_undoes_any_number_of_steps_within_its_memory(memory, steps):
    live, tape, advanced = Live(), BoundedTape(memory), 0
    state = live.state(0)
    for index in range(steps):
        tape.push(index, state, None)
        state = live.state(index + 1)
    # the last state stays alive: the solution has it

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


class Observed(Dopri5):
    """Counts the steps it is asked for and the states alive meanwhile, whoever holds them, in whatever view."""

    def __init__(self):
        self.steps, self.most, self.alive = 0, 0, {}

    def see(self, state):
        storage = state.untyped_storage()
        self.alive[storage.data_ptr()] = weakref.ref(storage)
        self.alive = {key: ref for key, ref in self.alive.items() if ref() is not None}
        self.most = max(self.most, len(self.alive))

    def step(self, field, t0, t1, y, state):
        return self.watch(super().step, field, t0, t1, y, state)

    def advance(self, field, t0, t1, y, state):
        return self.watch(super().advance, field, t0, t1, y, state)

    def watch(self, step, field, t0, t1, y, state):
        self.steps += 1
        self.see(y)
        result = step(field, t0, t1, y, state)
        self.see(result.y)
        return result


def test_a_thousand_adaptive_steps_with_32_states():
    """Those at work, the first and the last are among the 32; at most three recomputations a step."""
    y0 = torch.linspace(0.5, 1.0, 8, dtype=DTYPE, requires_grad=True)
    solver, controller = Observed(), PID(rtol=1e-6, atol=1e-6, dt_max=0.01)

    def gradient(solver, memory):
        solution = solve(
            lambda t, y: torch.sin(3 * t) - y * (1 + y * y), y0, torch.tensor([0.0, 10.0], dtype=DTYPE), solver=solver,
            controller=controller, adjoint=Checkpointed(memory=memory),
        )  # fmt: skip
        forward = solution.stats.steps
        return solution, forward, torch.autograd.grad(solution.ys[-1].sum(), y0)[0]

    solution, forward, got = gradient(solver, 32)
    assert solution.stats.accepted >= 1000
    assert 30 <= solver.most <= 32
    assert solver.steps - forward == solution.stats.replayed <= 3 * solution.stats.accepted
    assert torch.equal(got, gradient("dopri5", None)[2])


def test_memory_below_four_is_refused():
    for memory in (3, 0, -1, 4.5):
        with pytest.raises(OptionError, match="memory"):
            Checkpointed(memory=memory)


def test_a_checkpointed_solve_holds_one_state_a_step_and_its_gradient_needs_no_more():
    """Bytes that tensors hold after the forward pass: the slope over steps is one state."""
    size = 4_000  # below the size that is packed into slabs
    held = []
    for steps in (50, 150):
        y0 = torch.ones(size, dtype=DTYPE, requires_grad=True)
        gc.collect()
        before = _bytes()
        solution = solve(lambda t, y: -y, y0, [0.0, 1.0], solver="rk4", controller=Fixed(steps=steps))
        held.append(_bytes() - before)
        del solution
    assert 0.99 * size * 8 <= (held[1] - held[0]) / 100 <= 1.2 * size * 8


def _bytes():
    gc.collect()
    seen = {}
    stack = [o for o in gc.get_objects() if type(o) in (torch.Tensor, tuple, list)]
    for item in stack:
        for tensor in (item,) if isinstance(item, torch.Tensor) else [x for x in item if type(x) is torch.Tensor]:
            if not torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # a view of another, left by a trace
                seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(seen.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex128])
def test_slabs_pack_tensors_of_middling_size_side_by_side(dtype):
    slabs = Slabs()
    made = [torch.randn(7, 5, 31, 129).to(dtype) for _ in range(3)]
    kept = [slabs.keep(leaf) for leaf in made]
    for leaf, copy in zip(made, kept, strict=True):
        assert torch.equal(copy, leaf) and copy.dtype == leaf.dtype and copy.stride() == leaf.stride()
        assert copy.data_ptr() != leaf.data_ptr()
    assert len({copy.untyped_storage().data_ptr() for copy in kept}) == 1
    starts = [copy.data_ptr() for copy in kept]
    assert all(0 <= b - a - made[0].nbytes < 64 for a, b in itertools.pairwise(starts))


def test_slabs_keep_strides_and_start_another_when_one_is_full():
    slabs = Slabs()
    images = torch.randn(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    kept = slabs.keep(images)
    assert kept.is_contiguous(memory_format=torch.channels_last) and torch.equal(kept, images)
    large = [slabs.keep(torch.full((5 * 2**20,), float(i))) for i in range(3)]  # 20 MiB each
    assert [float(leaf[-1]) for leaf in large] == [0.0, 1.0, 2.0] and torch.equal(kept, images)
    assert len({leaf.untyped_storage().data_ptr() for leaf in large}) == 3


@pytest.mark.parametrize(
    "leaf", [torch.ones(10), torch.ones(9 * 2**20), torch.ones(1).expand(40_000), torch.ones(40_000, 2)[:, 0]]
)
def test_slabs_leave_small_large_and_scattered_tensors_alone(leaf):
    assert Slabs().keep(leaf) is leaf


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("adjoint", [Checkpointed(), Checkpointed(memory=4), Direct(), Backsolve()], ids=repr)
def test_a_solve_that_is_dropped_is_freed_at_once(adjoint, per_sample):
    """No tensor waits in a reference cycle for the garbage collector, which counts objects and not bytes."""
    y0 = {"a": torch.ones(3, 2, dtype=DTYPE, requires_grad=True)}
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        solution = solve(
            lambda t, y: {"a": -y["a"]}, y0, torch.linspace(0, 1, 4), adjoint=adjoint, per_sample=per_sample
        )
        solution.ys["a"].sum().backward()
        del solution
        gc.collect()
        assert [item for item in gc.garbage if isinstance(item, torch.Tensor)] == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
