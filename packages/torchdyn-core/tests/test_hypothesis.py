"""Whatever is asked for: a right answer, or an error of the tree."""

import math

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from torchdyn_core import PID, Fixed, TorchdynError, solve
from torchdyn_core.registry import Registry

CORE = Registry(entry_points=tuple)
DTYPES = {torch.float64: 1e-4, torch.float32: 1e-3, torch.complex128: 1e-4, torch.bfloat16: 0.1}

times = st.lists(
    st.sampled_from([0.0, 0.5, 1.0, -1.0, 2.0]) | st.floats(-3, 3) | st.sampled_from([float("nan"), float("inf")]),
    min_size=0, max_size=5,
)  # fmt: skip
shapes = st.lists(st.integers(0, 3), min_size=0, max_size=3).map(tuple)
controllers = st.one_of(
    st.just(PID(rtol=1e-5, atol=1e-6)),
    st.just(PID(rtol=1e-4, atol=1e-6, pcoeff=0.3, icoeff=0.4)),
    st.integers(1, 40).map(lambda n: Fixed(steps=n)),
    st.floats(0.05, 0.5).map(lambda dt: Fixed(dt=dt)),
    st.just(Fixed(grid=[0.0, 0.5, 1.0])),
)


def field(t, y):
    return -0.5 * y


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    ts=times, ordered=st.sampled_from([None, False, True]), shape=shapes, dtype=st.sampled_from(list(DTYPES)),
    solver=st.sampled_from([*CORE.names("solver"), "nonsense"]), controller=controllers,
    adjoint=st.sampled_from([*CORE.names("adjoint"), "none"]), per_sample=st.sampled_from([False, True, "ids", "bad"]),
    dense=st.booleans(), record_steps=st.booleans(), save=st.booleans(), integral=st.booleans(), grad=st.booleans(),
)  # fmt: skip
def test_a_right_answer_or_an_error_of_the_tree(
    ts, ordered, shape, dtype, solver, controller, adjoint, per_sample, dense, record_steps, save, integral, grad
):
    if ordered is not None:
        ts = sorted(ts, reverse=ordered)
    y0 = torch.ones(shape, dtype=dtype).requires_grad_(grad)
    if per_sample == "ids":
        per_sample = torch.arange(shape[0] if shape else 1) // 2
    times = torch.tensor(ts, dtype=torch.float64)
    try:
        solution = solve(
            field, y0, times, solver=solver, controller=controller, adjoint=adjoint, per_sample=per_sample, dense=dense,
            record_steps=record_steps, save=(lambda t, y: 2 * y) if save else None,
            integral_loss=(lambda t, y: y) if integral else None,
        )  # fmt: skip
        if grad:
            solution.ys.sum().abs().backward()
    except TorchdynError as error:
        assert str(error)
        return
    assert ordered is not None or times.diff().sign().unique().numel() <= 2
    assert solution.ys.shape == (len(ts), *shape) and solution.ys.dtype == dtype
    assert solution.success and bool(solution.valid.all())
    exact = torch.exp(-0.5 * (times - times[0])).reshape(-1, *([1] * len(shape))) * (2 if save else 1)
    size = max(1.0, exact.abs().max().item())
    error = (solution.ys.detach().to(torch.complex128) - exact).abs().amax().item() if solution.ys.numel() else 0.0
    if isinstance(controller, Fixed):
        # one Euler step over a span s is off by exp(-s/2) - (1 - s/2), the most that a grid can be
        half = 0.5 * (times[-1] - times[0]).abs().item()
        assert error <= 2 * (math.exp(half) - 1 - half) + 2 * DTYPES[dtype] * size
    else:
        assert error <= 5 * DTYPES[dtype] * size
    if dense and not save and shape != ():
        middle = solution.evaluate(0.5 * (times[0] + times[-1]))
        assert middle.shape == shape and bool(torch.isfinite(middle).all())
    if grad and solution.ys.numel():
        assert y0.grad is not None and bool(
            torch.isfinite(torch.view_as_real(y0.grad) if y0.is_complex() else y0.grad).all()
        )
