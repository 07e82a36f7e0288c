"""What a round of a compiled loop has allocated serves the following rounds, and never what somebody still holds."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch._higher_order_ops.while_loop import while_loop_op
from torch._inductor.codegen import common
from torch._inductor.codegen.cpp_wrapper_cpu import CppWrapperCpu
from torch.fx.experimental.proxy_tensor import make_fx
from torch.profiler import ProfilerActivity, profile

from torchdyn_core.compiled.kernel import Kernel, Shadows
from torchdyn_core.compiled.loop_memory import LARGE, kept_between_rounds
from torchdyn_core.compiled.while_loop import loop

COMPILES = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "c++", "clang++"))), reason="compiling needs a C++ compiler"
)


def compiled(step, *carried):
    """A loop that counts its first tensor down while the others take steps."""
    shadows = Shadows()
    fakes = [shadows.of(tensor, [False] * tensor.dim()) for tensor in (torch.tensor(9), *carried)]
    return loop(lambda left, *_: left > 0, lambda left, *rest: [left - 1, *step(*rest)], shadows, fakes, [], [])


def allocated(made, rounds, *carried):
    """How often memory was allocated in a loop of so many rounds."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        made(torch.tensor(rounds), *carried)
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return sum(event.nbytes() > 0 for event in events)


def summed_up(x):
    """Keeps several tensors within a round: products by a library are of buffers."""
    return [(x @ x).sin() @ (x @ x).cos() / 100.0]


@COMPILES
@pytest.mark.parametrize(("size", "is_large"), [(16, False), (256, True)])
def test_small_tensors_are_allocated_once_and_large_ones_in_each_round(size, is_large):
    x = torch.eye(size) / 2
    assert (x.numel() >= LARGE) == is_large
    made = compiled(summed_up, x)
    made(torch.tensor(2), x)
    few, many = allocated(made, 5, x), allocated(made, 25, x)
    assert (many - few >= 20) if is_large else (many == few)


@COMPILES
def test_what_is_carried_is_not_written_to_by_the_next_round():
    """Fibonacci's numbers, turned round at each step, so that no entry is written where it was read."""

    def step(a, b):
        return [b.flip(0), a + b.flip(0)]

    a, b = torch.zeros(1000), torch.arange(1000.0)
    made = compiled(step, a, b)
    for rounds in (1, 2, 3, 30):
        theirs = [a, b]
        for _ in range(rounds):
            theirs = step(*theirs)
        _, *mine = made(torch.tensor(rounds), a, b)
        assert all(map(torch.equal, mine, theirs))


@COMPILES
def test_results_outlive_the_loop_and_the_next_call():
    x = torch.eye(16) / 2
    made = compiled(summed_up, x)
    first = made(torch.tensor(3), x)[1]
    copy = first.clone()
    made(torch.tensor(3), 2 * x)
    assert torch.equal(first, copy) and not torch.equal(made(torch.tensor(3), 2 * x)[1], copy)


def repeated(body, *start):
    """A loop as torch has it, of a body that need not end in copies, as those of solves do."""
    graphs = [make_fx(function)(*start) for function in (lambda left, x: left > 0, body)]
    shadows = Shadows()
    fakes = [shadows.of(tensor, [False] * tensor.dim()) for tensor in start]
    return Kernel(lambda *tensors: while_loop_op(*graphs, tensors, ()), shadows, fakes)


def followed(body, left, x):
    """What its rounds come to."""
    while left > 0:
        left, x = body(left, x)
    return x


@COMPILES
def test_what_a_view_of_is_carried_is_held():
    """A product leaves each round as a view of the buffer that it was written to."""

    def body(left, x):
        x = x.view(24, 24)
        return left - 1, (x @ x).view(-1)

    torch.manual_seed(0)
    start = torch.tensor(7), torch.rand(576) / 6
    torch.testing.assert_close(repeated(body, *start)(*start)[1], followed(body, *start))


@COMPILES
@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)
def test_sizes_that_change_from_round_to_round_have_memory_of_their_own():
    def body(left, x):
        some = (x > left).nonzero().squeeze(1)  # more of them in each round
        return left - 1, x.index_add(0, some.flip(0).cumsum(0) % 100, x.index_select(0, some).cumsum(0))

    start = torch.tensor(90), torch.arange(100.0)
    torch.testing.assert_close(repeated(body, *start)(*start)[1], followed(body, *start))


@COMPILES
def test_threads_may_run_one_loop_at_once():
    x = torch.eye(16) / 2
    made = compiled(summed_up, x)
    one, two = (made(torch.tensor(2000), factor * x)[1] for factor in (1.0, 1.1))
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda factor: made(torch.tensor(2000), factor * x)[1], [1.0, 1.1] * 8))
    assert all(torch.equal(f, wanted) for f, wanted in zip(found, [one, two] * 8, strict=True))


@COMPILES
def test_a_loop_of_sizes_that_are_symbols_serves_them_all():
    shadows, x = Shadows(), torch.rand(40, 16)
    fakes = [shadows.of(torch.tensor(9), []), shadows.of(x, [True, False])]

    def step(left, x):
        return [left - 1, (x @ x.t()).sin() @ x / 400.0]

    made = loop(lambda left, x: left > 0, step, shadows, fakes, [], [])
    for rows in (40, 7, 40, 300):
        x = torch.rand(rows, 16)
        torch.testing.assert_close(made(torch.tensor(5), x)[1], followed(step, torch.tensor(5), x))


def test_other_compilers_write_as_they_did(monkeypatch):
    common.init_backend_registration()
    cpu = common.device_codegens["cpu"]
    with pytest.raises(RuntimeError, match="within"), kept_between_rounds():
        assert issubclass(cpu.cpp_wrapper_codegen, CppWrapperCpu) and cpu.cpp_wrapper_codegen is not CppWrapperCpu
        raise RuntimeError("within")
    assert cpu.cpp_wrapper_codegen is CppWrapperCpu
    other = type("Other", (CppWrapperCpu,), {})
    monkeypatch.setattr(cpu, "cpp_wrapper_codegen", other)
    with kept_between_rounds():
        assert cpu.cpp_wrapper_codegen is other
