"""Graphs over pairs of real tensors compute what torch computes with complex ones; each rule is held to it."""

import inspect
import operator

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torchdyn_core.compiled import kernel
from torchdyn_core.compiled.kernel import Shadows, traced
from torchdyn_core.compiled.pairs import CALLED, RULES
from torchdyn_core.compiled.reals import from_reals, in_reals, to_reals
from torchdyn_core.errors import IncompatibleError

aten = torch.ops.aten


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def reals(*shape):
    return numbers(*shape, seed=2).real.contiguous()


TENSORS = {
    "z": numbers(3, 4), "w": numbers(3, 4, seed=1), "r": reals(3, 4), "square": numbers(4, 4, seed=3),
    "batch": numbers(2, 3, 3, seed=4), "index": torch.tensor([2, 0, 2]), "flag": reals(3, 4) > 0,
}  # fmt: skip


def taken(function):
    """The tensors that a function takes, by the names of its arguments; torch's own take one."""
    names = inspect.signature(function).parameters if inspect.isfunction(function) else ["z"]
    return [TENSORS[name] for name in names]


def gradient(function):
    """What autograd makes of a function."""

    def grads(*tensors):
        own = [t.detach().requires_grad_(t.is_complex() or t.is_floating_point()) for t in tensors]
        with torch.enable_grad():
            out = function(*own)
            out = torch.view_as_real(out) if out.is_complex() else out
            loss = (out * torch.arange(1, 1 + out.numel()).reshape(out.shape)).sum()
            return torch.autograd.grad(loss, [t for t in own if t.requires_grad])

    return grads


def written(z, r):
    z = z.clone()
    z.mul_(z + 1)
    z.add_(r).sub_(z * 0.5)
    return z.copy_(z * 2)


ONE = {
    "exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "sin": torch.sin, "cos": torch.cos, "sinh": torch.sinh, "cosh": torch.cosh,
    "abs": torch.abs, "angle": torch.angle, "sgn": torch.sgn, "reciprocal": torch.reciprocal, "square": torch.square,
    "conj": lambda z: z.conj() * z.mT.conj().mT + torch.conj_physical(z),
    "made of parts": lambda z: torch.complex(z.real * 2, z.conj().imag),
    "powers": lambda z: torch.stack([z**2, z**-3, z**0.3, z ** (1 + 2j), z**5, z**0]),
    "power of a number": lambda z: 2.5**z + (1 + 1j) ** z, "norm": lambda z: z.norm() + z.norm(dim=1).sum(),
    "sums": lambda z: z.sum() + z.sum(0, keepdim=True) + z.mean(1, keepdim=True) + z.cumsum(0),
    "negative": lambda z: -z + (1 - z) + torch.rsub(z, 2j, alpha=3), "as reals": lambda z: torch.view_as_real(z) * 2,
}  # fmt: skip
TWO = {
    "add": lambda z, w: torch.add(z, w, alpha=2j) + 1, "sub": lambda z, w: torch.sub(z, w, alpha=3) - 2j,
    "mul": lambda z, w: z * w * 2j * 3, "div": lambda z, w: z / w + z / 2 + z / 2j + 1 / w,
    "real operands": lambda z, w: (w.real * z + z / w.real) - w.imag, "pow": lambda z, w: z**w,
    "real power": lambda z, w: z ** w.real, "addcmul": lambda z, w: torch.addcmul(z, w, z, value=2),
    "where": lambda z, w, flag: torch.where(flag, z, w) + torch.where(flag, z, 0.5),
    "masked": lambda z, w, flag: z.masked_fill(flag, 1 - 2j) + w.masked_fill(flag, 2),
    "stack": lambda z, w: torch.stack([z, w, w.real + 0j], 1), "cat": lambda z, w: torch.cat([z, w], -1),
    "polar": lambda z, w: torch.polar(z.abs(), w.angle()), "mm": lambda z, w: z @ w.mH + (z.real + 0j) @ w.T,
    "dot": lambda z, w: torch.dot(z[0], w[1]) + torch.vdot(z[0], w[2]) + torch.dot(z[1].conj(), w[0]),
    "mv": lambda z, w: z.mv(w[0]) * z.conj().mv(w[1].conj()),
    "addmm": lambda z, w, square: torch.addmm(square, z.mH, w, beta=2, alpha=1 - 1j),
    "bmm": lambda z, w, batch: torch.bmm(batch, torch.stack([z, w])),
    "baddbmm": lambda z, w, batch: torch.baddbmm(torch.stack([z, w]), batch, torch.stack([w, z]), beta=0.5),
}  # fmt: skip
MOVED = {
    "shapes": lambda z: z.reshape(2, 6).unsqueeze(0).expand(3, 2, 6).permute(2, 0, 1).squeeze().transpose(0, 1),
    "views": lambda z: z.t().reshape(12).view(4, 3).flip(0).roll(1, 0).diagonal(),
    "parts": lambda z: torch.stack([*z.unbind(0), *z[:, 1:].split(2, 1)[0].expand(3, 2).repeat(1, 2)]),
    "chosen": lambda z, index: z[index] + z.index_select(0, index) + z.gather(1, index[:1].expand(3, 4)),
    "split": lambda z: z.split([1, 3], 1)[1], "triangles": lambda z: z.tril() - z.triu(1),
    "put": lambda z, index: z.index_put((index,), z * 2, accumulate=True) + z.index_add(0, index, z),
    "scattered": lambda z, index: z.scatter_add(0, index.reshape(3, 1).expand(3, 4), z),
    "alias": lambda z: aten.alias(z) * 2, "padded": lambda z: torch.nn.functional.pad(z, (1, 2)),
}  # fmt: skip
MADE = {
    "like": lambda z: torch.zeros_like(z) + torch.ones_like(z) + torch.full_like(z, 2j) + z.new_zeros(4) + 0 * z,
    "numbers": lambda z: z * torch.full((4,), 1 + 2j, dtype=z.dtype) + torch.zeros(4, dtype=z.dtype),
    "identity": lambda z: z @ torch.eye(4, dtype=z.dtype) + torch.ones(4, dtype=z.dtype),
    "literals": lambda z: z * torch.tensor([1j, 2.0, 3.0, 4.0]) + torch.tensor(0.5j),
    "a scalar": lambda z: z + torch.scalar_tensor(2j, dtype=z.dtype), "casts": lambda z: z.to(torch.complex64) * 2,
    "from reals": lambda z, r: r.to(z.dtype) * z + torch.view_as_complex(torch.stack([r, r + 1], -1)),
    "empty": lambda z: torch.empty_like(z).copy_(z) + torch.empty(4, dtype=z.dtype).copy_(z[0]),
    "compared": lambda z: torch.stack([z == z.clone(), z != 1, z == z.conj(), torch.isfinite(z), torch.isnan(z)]),
    "put in": lambda z: torch.slice_scatter(z, z[1:] * 2, 0, 1).select_scatter(z[0] * 2, 0, 1),
    "either": lambda z, w, flag: torch.where(flag, w.real, z), "detached": lambda z: z.detach() * 2, "written": written,
}  # fmt: skip
CASES = ONE | TWO | MOVED | MADE
CASES |= {f"{name}, its gradient": (f, True) for name, f in (ONE | TWO | MOVED).items()}
SEEN = set()


def rewritten(function, tensors):
    """The function in reals, and what it gives; the operators of the graph are remembered."""

    def real(*reals):
        out = function(*from_reals(reals, [tensor.is_complex() for tensor in tensors]))
        return to_reals(out if isinstance(out, (tuple, list)) else [out])

    shadows = Shadows()
    inputs = [shadows.constant(tensor) for tensor in to_reals(tensors)]
    with torch.no_grad(), shadows.mode:
        graph, literals = traced(real, inputs)
    return graph, graph(*to_reals(tensors), *literals)


@pytest.fixture
def watched(monkeypatch):
    def watch(graph, table):
        for node in graph.graph.nodes:
            packet = getattr(node.target, "overloadpacket", node.target)
            SEEN.update((packet, getattr(aten, str(packet).removeprefix("aten.").removesuffix("_"), None)))
        return in_reals(graph, table)

    monkeypatch.setattr(kernel, "in_reals", watch)


@pytest.mark.parametrize("case", CASES)
def test_results_are_those_of_complex_tensors(case, watched):
    function, differentiate = CASES[case] if isinstance(CASES[case], tuple) else (CASES[case], False)
    tensors, function = taken(function), gradient(function) if differentiate else function
    graph, found = rewritten(function, tensors)
    expected = function(*tensors)
    expected = to_reals(expected if isinstance(expected, (tuple, list)) else [expected])
    tolerance = 1e-12 if expected[0].dtype != torch.float32 else 1e-6
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    values = [node.meta.get("val") for node in graph.graph.nodes]
    assert not any(isinstance(value, torch.Tensor) and value.is_complex() for value in values)


def test_every_rule_was_tested():
    assert len(CASES) > 100
    if SEEN:  # all cases ran
        assert {*RULES} - SEEN <= {aten.sym_size}, {*RULES} - SEEN


def test_real_graphs_stay_as_they_are():
    graph = make_fx(lambda x: x.exp() @ x.T)(TENSORS["r"])
    assert in_reals(graph, {}) is graph


def test_transforms_are_called():
    _, found = rewritten(lambda z: torch.fft.ifft(torch.fft.fft(z) * z), [TENSORS["z"]])
    expected = torch.view_as_real(torch.fft.ifft(torch.fft.fft(TENSORS["z"]) * TENSORS["z"]))
    torch.testing.assert_close(found[0], expected, rtol=1e-12, atol=1e-12)
    assert aten._fft_c2c in CALLED and operator.getitem in RULES


def to_a_part(z):
    z = z.clone()
    z[0] = z[1] * 2
    return z


def to_the_real_part(z):
    z = z.clone()
    z.real.mul_(2)
    return z


def to_its_view(z):
    z = torch.view_as_complex(torch.view_as_real(z).clone())
    first = z[0]
    z.add_(1)
    return first * z


@pytest.mark.parametrize("function", [to_a_part, to_the_real_part, to_its_view])
def test_writing_to_a_part_is_refused(function):
    with pytest.raises(IncompatibleError, match="writes to a part of a tensor"):
        rewritten(function, [TENSORS["z"]])


@pytest.mark.parametrize("function", [torch.asinh, lambda z: z.prod(0), torch.linalg.inv])
def test_an_operator_without_a_rule_is_named(function):
    with pytest.raises(IncompatibleError, match=r"no rule for the operator aten\.\w+"):
        rewritten(function, [TENSORS["square"]])
