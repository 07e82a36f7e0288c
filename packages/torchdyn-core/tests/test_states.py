"""States of any shape, dtype and structure keep what they are."""

import pytest
import torch

from torchdyn_core import PID, Fixed, solve

TS = torch.tensor([0.0, 0.5, 1.0])


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0), (2, 3), (2, 1, 4, 3)])
@pytest.mark.parametrize("per_sample", [False, True])
def test_any_shape(shape, per_sample):
    if per_sample and not shape:
        return
    y0 = torch.ones(shape, dtype=torch.float64)
    for options in ({"controller": PID(rtol=1e-8, atol=1e-8)}, {"solver": "rk4", "controller": Fixed(dt=0.01)}):
        ys = solve(lambda t, y: -y * (1 + t), y0, TS, per_sample=per_sample, **options).ys
        assert ys.shape == (3, *shape)
        want = torch.exp(-(TS + TS**2 / 2).double()).reshape(3, *([1] * len(shape))) * y0
        torch.testing.assert_close(ys, want, rtol=1e-7, atol=1e-8)


TOLERANCE = {
    torch.float64: 1e-5, torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 4e-2, torch.complex128: 1e-5,
    torch.complex64: 1e-5,
}  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("time_dtype", [torch.float64, torch.float32, torch.long])
def test_dtypes_are_kept_and_the_field_gets_the_real_one(dtype, per_sample, time_dtype):
    seen = set()

    def field(t, y):
        seen.add(t.dtype)
        return -t * y

    y0 = torch.full((2, 3), 1.5, dtype=dtype)
    half = dtype in (torch.float16, torch.bfloat16)
    controllers = (Fixed(steps=16), PID(rtol=1e-2, atol=1e-2) if half else PID(rtol=1e-6, atol=1e-6))
    for controller in controllers:
        kind = {"per_sample": per_sample, "controller": controller, "dense": True, "integral_loss": lambda t, y: y * t}
        solution = solve(field, y0, torch.tensor([0, 1], dtype=time_dtype), **kind)
        for got in (solution.ys, solution.final.y, solution.integral, solution.evaluate(0.5)):
            assert got.dtype == dtype
        want = torch.full((2, 3), 1.5 * torch.e**-0.5, dtype=dtype)
        torch.testing.assert_close(solution.ys[-1], want, rtol=TOLERANCE[dtype], atol=0)
    real = dtype.to_real() if dtype.is_complex else dtype
    assert seen == {real}


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize("adjoint", ["direct", "checkpointed", "backsolve"])
def test_nested_trees_of_mixed_dtypes(adjoint, per_sample):
    y0 = {"a": (torch.ones(2, 3), [torch.ones(2, dtype=torch.float64)]), "b": torch.ones(2, 1, dtype=torch.complex128)}
    y0["a"][0].requires_grad_()

    def field(t, y):
        return {"a": (-y["a"][0], [y["a"][1][0] * 0.5]), "b": 1j * y["b"]}

    solution = solve(field, y0, TS, adjoint=adjoint, per_sample=per_sample, controller=PID(rtol=1e-7, atol=1e-7))
    assert isinstance(solution.ys["a"], tuple) and isinstance(solution.ys["a"][1], list)
    torch.testing.assert_close(solution.ys["a"][0][-1], torch.full((2, 3), torch.e**-1), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        solution.ys["b"][-1], torch.full((2, 1), torch.e**1j, dtype=torch.complex128), rtol=1e-5, atol=0
    )
    assert solution.ys["a"][1][0].dtype == torch.float64
    (grad,) = torch.autograd.grad(solution.ys["a"][0][-1].sum(), y0["a"][0])
    torch.testing.assert_close(grad, torch.full((2, 3), torch.e**-1), rtol=1e-4, atol=0)


def test_modes_without_gradients():
    net = torch.nn.Linear(2, 2)
    y0 = torch.ones(3, 2, requires_grad=True)
    want = solve(lambda t, y: net(y), y0, TS).ys
    assert want.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            for adjoint in ("direct", "checkpointed", "backsolve"):
                got = solve(lambda t, y: net(y), y0, TS, adjoint=adjoint).ys
                assert not got.requires_grad
                torch.testing.assert_close(got.clone(), want.detach())
    frozen = net.requires_grad_(False)
    assert not solve(lambda t, y: frozen(y), y0.detach(), TS).ys.requires_grad
