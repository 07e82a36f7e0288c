"""Complex tensors in two parts, and what operators do to these."""

from __future__ import annotations

import cmath
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree

__all__ = ["CALLED", "RULES", "WRITES", "Pair", "stacked", "view_as_complex"]

aten = torch.ops.aten


@dataclass(frozen=True, eq=False, slots=True)
class Pair:
    """A complex tensor in two parts.

    Arguments:
        re, im: The parts.
        memory: The real tensor `(*shape, 2)` that it is a view of, where that is known: what is written goes there.
    """

    re: Tensor
    im: Tensor
    memory: Tensor | None = None


Rule = Callable[..., Any]  # of the dtype of the result's parts, and the operator's own arguments
Parts = tuple[Any, Any]


def _parts(value: Any, dtype: torch.dtype | None = None) -> Parts:
    """Real and imaginary part, tensors in a dtype; the latter is None where the value is real."""
    if isinstance(value, Pair):
        return _cast(value.re, dtype), _cast(value.im, dtype)
    if isinstance(value, complex):
        return value.real, value.imag
    return _cast(value, dtype), None


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    """Tensors in a dtype; numbers as they are."""
    return value.to(dtype) if isinstance(value, Tensor) and dtype is not None and value.dtype is not dtype else value


def _whole(value: Any, dtype: torch.dtype | None = None) -> Parts:
    """Both parts, zeros included."""
    re, im = _parts(value, dtype)
    if im is None:
        im = torch.zeros_like(re) if isinstance(re, Tensor) else 0.0
    return re, im


def _real_options(options: dict[str, Any]) -> dict[str, Any]:
    dtype = options.get("dtype")
    return options | {"dtype": dtype.to_real()} if dtype is not None and dtype.is_complex else options


def _apart(op: Any) -> Rule:
    """A rule for what is done to both parts alike: moving entries, adding them up."""

    def real(value: Any) -> Any:
        return value.re if isinstance(value, Pair) else value

    def imaginary(value: Any) -> Any:
        if isinstance(value, Tensor) and value.is_floating_point():
            return torch.zeros_like(value)
        return value.im if isinstance(value, Pair) else value

    def rule(_: Any, /, *args: Any, **kwargs: Any) -> Any:
        kwargs = _real_options(kwargs)
        if not (kwargs.get("dtype") or torch.float32).is_floating_point:
            return op(*_pytree.tree_map(real, args), **kwargs)
        re, im = (op(*_pytree.tree_map(part, args), **kwargs) for part in (real, imaginary))
        return Pair(re, im) if isinstance(re, Tensor) else [Pair(a, b) for a, b in zip(re, im, strict=True)]

    return rule


def _joined(op: Any) -> Rule:
    """A rule for tensors that are put together."""

    def rule(dtype: Any, tensors: Any, *args: Any) -> Pair:
        parts = [_whole(tensor, dtype) for tensor in tensors]
        return Pair(op([re for re, _ in parts], *args), op([im for _, im in parts], *args))

    return rule


def _sum(sign: int) -> Rule:
    def rule(dtype: Any, a: Any, b: Any, alpha: Any = 1) -> Pair:
        if alpha != 1:
            b = _mul(dtype, b, alpha)
        (ar, ai), (br, bi) = _whole(a, dtype), _whole(b, dtype)
        return Pair(ar + br, ai + bi) if sign > 0 else Pair(ar - br, ai - bi)

    return rule


def _product(op: Any) -> Rule:
    """A rule for what is linear in both of its arguments."""

    def rule(dtype: Any, a: Any, b: Any) -> Any:
        (ar, ai), (br, bi) = _parts(a, dtype), _parts(b, dtype)
        if bi is None:
            return op(ar, br) if ai is None else Pair(op(ar, br), op(ai, br))
        if ai is None:
            return Pair(op(ar, br), op(ar, bi))
        return Pair(op(ar, br) - op(ai, bi), op(ar, bi) + op(ai, br))

    return rule


_mul, _plus, _minus = _product(operator.mul), _sum(1), _sum(-1)


def _with_added(op: Any) -> Rule:
    """A rule for a product of matrices to which a tensor is added."""
    multiply = _product(op)

    def rule(dtype: Any, added: Any, a: Any, b: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
        product = multiply(dtype, a, b)
        return _plus(dtype, _mul(dtype, added, beta), product if alpha == 1 else _mul(dtype, product, alpha))

    return rule


def _div(dtype: Any, a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = _whole(a, dtype), _parts(b, dtype)
    if bi is None:
        return Pair(ar / br, ai / br)
    if isinstance(br, float):
        return _mul(dtype, a, 1 / complex(br, bi))
    size = torch.maximum(br.abs(), bi.abs())  # so that no square over- or underflows
    br, bi = br / size, bi / size
    square = (br * br + bi * bi) * size
    return Pair((ar * br + ai * bi) / square, (ai * br - ar * bi) / square)


def _pow(dtype: Any, base: Any, exponent: Any) -> Any:
    if isinstance(exponent, (int, float)) and int(exponent) == exponent and abs(exponent) <= 8:
        if exponent == 0:
            return Pair(torch.ones_like(base.re), torch.zeros_like(base.im))
        power = _mul(dtype, base, 1.0)
        for digit in bin(abs(int(exponent)))[3:]:  # by squaring
            power = _mul(dtype, power, power)
            power = _mul(dtype, power, base) if digit == "1" else power
        return power if exponent > 0 else _div(dtype, 1.0, power)
    if isinstance(base, Pair) and not isinstance(exponent, (Pair, complex)):
        size, angle = torch.hypot(base.re, base.im) ** exponent, torch.atan2(base.im, base.re) * exponent
        return Pair(size * angle.cos(), size * angle.sin())
    log = cmath.log(base) if isinstance(base, (int, float, complex)) else _log(dtype, base)
    return _exp(dtype, _mul(dtype, log, exponent))


def _exp(dtype: Any, z: Any) -> Pair:
    re, im = _whole(z, dtype)
    size = re.exp()
    return Pair(size * im.cos(), size * im.sin())


def _log(dtype: Any, z: Any) -> Pair:
    re, im = _whole(z, dtype)
    return Pair(torch.hypot(re, im).log(), torch.atan2(im, re))


def _sqrt(dtype: Any, z: Any) -> Pair:
    re, im = _whole(z, dtype)
    size, half = torch.hypot(re, im).sqrt(), torch.atan2(im, re) / 2
    return Pair(size * half.cos(), size * half.sin())


def _tanh(dtype: Any, z: Any) -> Pair:
    re, im = _whole(z, dtype)
    t, w = re.tanh(), im.tan()
    scale = 1 + (t * w) ** 2
    return Pair(t * (1 + w * w) / scale, w * (1 - t * t) / scale)


def _sgn(dtype: Any, z: Any) -> Pair:
    re, im = _whole(z, dtype)
    size = torch.hypot(re, im)
    size = torch.where(size == 0, 1.0, size)
    return Pair(re / size, im / size)


def _conj(dtype: Any, z: Any) -> Pair:
    re, im = _whole(z, dtype)
    return Pair(re, -im)


def _abs(z: Pair) -> Tensor:
    return torch.hypot(z.re, z.im)


def _addcmul(dtype: Any, added: Any, a: Any, b: Any, *, value: Any = 1) -> Any:
    return _plus(dtype, added, _mul(dtype, a, b), value)


def _sigmoid(dtype: Any, z: Pair) -> Any:
    return _div(dtype, 1.0, _plus(dtype, _exp(dtype, Pair(-z.re, -z.im)), 1.0))


def _tanh_backward(dtype: Any, grad: Any, out: Pair) -> Any:
    return _mul(dtype, grad, _conj(dtype, _minus(dtype, 1.0, _mul(dtype, out, out))))


def _sigmoid_backward(dtype: Any, grad: Any, out: Pair) -> Any:
    return _mul(dtype, grad, _conj(dtype, _mul(dtype, _minus(dtype, 1.0, out), out)))


def _trigonometric(re: Rule, im: Rule) -> Rule:
    return lambda dtype, z: Pair(re(z.re, z.im), im(z.re, z.im))


def _where(dtype: Any, flag: Tensor, a: Any, b: Any) -> Pair:
    (ar, ai), (br, bi) = _whole(a, dtype), _whole(b, dtype)
    return Pair(_cast(torch.where(flag, ar, br), dtype), _cast(torch.where(flag, ai, bi), dtype))


def _masked_fill(dtype: Any, z: Pair, flag: Tensor, value: Any) -> Pair:
    parts = zip((z.re, z.im), _whole(value, dtype), strict=True)
    return Pair(*(torch.where(flag, part, own) for own, part in parts))


def _filled(op: Any) -> Rule:
    """A rule for tensors that are made of a number."""

    def rule(parts: Any, /, *args: Any, **kwargs: Any) -> Pair:
        *first, value = (arg.re if isinstance(arg, Pair) else arg for arg in args)
        return Pair(*(op(*first, part, **(kwargs | {"dtype": parts})) for part in _whole(value)))

    return rule


def _made(op: Any) -> Rule:
    """A rule for real tensors that are made as complex ones: zeros, ones, the identity."""

    def rule(parts: Any, /, *args: Any, **kwargs: Any) -> Pair:
        re = op(*(arg.re if isinstance(arg, Pair) else arg for arg in args), **(kwargs | {"dtype": parts}))
        return Pair(re, torch.zeros_like(re))

    return rule


def _to_copy(_: Any, z: Any, /, **kwargs: Any) -> Any:
    wanted = kwargs.get("dtype")
    if isinstance(z, Pair) and wanted is not None and not wanted.is_complex:
        return aten._to_copy(z.re, **kwargs)
    return Pair(*(aten._to_copy(part, **_real_options(kwargs)) for part in _whole(z)))


def view_as_complex(x: Tensor) -> Pair:
    """A pair of the parts that a real tensor `(*shape, 2)` has beside each other."""
    return Pair(x.select(-1, 0), x.select(-1, 1), x)


def stacked(z: Any) -> Tensor:
    """As one real tensor."""
    return torch.stack(_whole(z), -1)


def _index_copy(z: Pair, dim: int, index: Tensor, source: Any) -> Pair:
    assert z.memory is not None
    z.memory.index_copy_(dim, index, stacked(source))
    return z


def _add(z: Pair, other: Any) -> Pair:
    assert z.memory is not None
    z.memory.add_(stacked(other))
    return z


def _compared(op: Any, join: Any) -> Rule:
    def rule(dtype: Any, a: Any, b: Any) -> Tensor:
        (ar, ai), (br, bi) = _whole(a), _whole(b)
        found: Tensor = join(op(ar, br), op(ai, bi))
        return found

    return rule


_ALIKE = (
    "expand", "permute", "transpose", "t", "unsqueeze", "squeeze", "select", "slice", "unbind", "split",
    "split_with_sizes", "clone", "detach", "alias", "flip", "roll", "index_select", "index", "gather", "diagonal",
    "repeat", "sum", "mean", "cumsum", "neg", "select_backward", "slice_backward", "index_put", "index_add",
    "scatter_add", "select_scatter", "slice_scatter", "tril", "triu", "zeros_like", "new_zeros", "empty_like", "copy",
    "constant_pad_nd", "diagonal_backward",
)  # fmt: skip

RULES: dict[Any, Rule] = {getattr(aten, name): _apart(getattr(aten, name)) for name in _ALIKE} | {
    aten.view: _apart(torch.reshape), aten._unsafe_view: _apart(torch.reshape),
    operator.getitem: lambda _, items, index: items[index],
    aten.sym_size: lambda _, z, axis: z.re.size(axis),
    aten.stack: _joined(torch.stack), aten.cat: _joined(torch.cat),
    aten.add: _plus, aten.sub: _minus, aten.rsub: lambda dtype, a, b, alpha=1: _minus(dtype, b, a, alpha),
    aten.mul: _mul, aten.mm: _product(torch.mm), aten.bmm: _product(torch.bmm), aten.mv: _product(torch.mv),
    aten.dot: _product(torch.dot), aten.vdot: lambda dtype, a, b: _product(torch.dot)(dtype, _conj(dtype, a), b),
    aten.addmm: _with_added(torch.mm), aten.baddbmm: _with_added(torch.bmm),
    aten.div: _div, aten.reciprocal: lambda dtype, z: _div(dtype, 1.0, z), aten.pow: _pow,
    aten.exp: _exp, aten.log: _log, aten.sqrt: _sqrt,
    aten.rsqrt: lambda dtype, z: _div(dtype, 1.0, _sqrt(dtype, z)),
    aten.addcmul: _addcmul, aten.tanh: _tanh, aten.sigmoid: _sigmoid,
    aten.tanh_backward: _tanh_backward, aten.sigmoid_backward: _sigmoid_backward,
    aten.sin: _trigonometric(lambda x, y: x.sin() * y.cosh(), lambda x, y: x.cos() * y.sinh()),
    aten.cos: _trigonometric(lambda x, y: x.cos() * y.cosh(), lambda x, y: -x.sin() * y.sinh()),
    aten.sinh: _trigonometric(lambda x, y: x.sinh() * y.cos(), lambda x, y: x.cosh() * y.sin()),
    aten.cosh: _trigonometric(lambda x, y: x.cosh() * y.cos(), lambda x, y: x.sinh() * y.sin()),
    aten.abs: lambda _, z: _abs(z), aten.angle: lambda _, z: torch.atan2(z.im, z.re),
    aten.linalg_vector_norm: lambda _, z, *args, **kwargs: aten.linalg_vector_norm(_abs(z), *args, **kwargs),
    aten.sgn: _sgn, aten._conj: _conj, aten._conj_physical: lambda _, z: Pair(z.re.clone(), -z.im),
    aten.where: _where, aten.masked_fill: _masked_fill,
    aten.eq: _compared(operator.eq, torch.logical_and), aten.ne: _compared(operator.ne, torch.logical_or),
    aten.isnan: lambda _, z: torch.isnan(z.re) | torch.isnan(z.im),
    aten.full: _filled(torch.full), aten.full_like: _filled(torch.full_like),
    aten.scalar_tensor: _filled(torch.scalar_tensor),
    aten.zeros: _made(torch.zeros), aten.ones: _made(torch.ones), aten.ones_like: _made(torch.ones_like),
    aten.eye: _made(torch.eye), aten.empty: _made(torch.empty),
    aten._to_copy: _to_copy, aten.complex: lambda _, re, im: Pair(re.clone(), im.clone()),
    aten.polar: lambda _, size, angle: Pair(size * angle.cos(), size * angle.sin()),
    aten.view_as_complex: lambda _, x: view_as_complex(x), aten.view_as_real: lambda _, z: stacked(z),
}  # fmt: skip
"""What becomes of an operator."""

CALLED = {aten._fft_c2c, aten._fft_r2c, aten._fft_c2r}
"""Operators that are called on complex tensors, which a loop takes if nothing else in it does so."""

WRITES: dict[Any, Callable[..., Pair]] = {aten.index_copy_: _index_copy, aten.add_: _add}
"""How loops write to buffers and sums, which are views of real tensors."""
