"""What `solve` is given, checked once: a right value, or an error that says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchdyn_core.controller import Span
from torchdyn_core.errors import GradientError, IncompatibleError, ShapeError
from torchdyn_core.layout import Layout, PerSample, Segments, Shared, Unrolled
from torchdyn_core.solution import Final
from torchdyn_core.tree import Tree, all_finite, flatten, leaves, tree_map

__all__ = [
    "checked_args",
    "checked_breakpoints",
    "checked_layout",
    "checked_resume",
    "checked_span",
    "checked_state",
    "checked_times",
]

_PLAIN = (bool, int, float, complex, str, type(None))


def checked_state(y0: Tree, known: bool) -> Tree:
    """The state to start from, with storage of its own; its values are looked at where they are known."""
    parts = flatten(y0)[0]
    if not parts:
        raise ShapeError("y0 is an empty tree; wanted at least one tensor")
    for index, leaf in enumerate(parts):
        where = "y0" if isinstance(y0, Tensor) else f"leaf {index} of y0"
        if not isinstance(leaf, Tensor):
            raise ShapeError(
                f"{where} is a {type(leaf).__name__}; wanted a tensor, or a tuple, list or dict of tensors"
            )
        if not (leaf.is_floating_point() or leaf.is_complex()):
            raise ShapeError(f"{where} has dtype {leaf.dtype}; wanted a real or complex dtype: {where}.float()")
        if leaf.device != parts[0].device:
            raise ShapeError(f"{where} is on {leaf.device}, the first leaf on {parts[0].device}; wanted one device")
        _refuse_batched(leaf, where)
        if known and not all_finite(leaf):
            bad = torch.nonzero(~torch.isfinite(leaf.detach()))[0].tolist()
            raise ShapeError(f"{where} holds NaN or inf, first at index {bad}; wanted finite values")
    return tree_map(torch.clone, y0)


def checked_layout(y0: Tree, ts: Any, per_sample: bool | Tensor, known: bool) -> Layout:
    """How samples map to rows."""
    parts = leaves(y0)
    device = parts[0].device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    if per_sample is False:
        return Shared(device, dtype) if known else Unrolled(device, dtype, ts)
    for index, leaf in enumerate(parts):
        if not leaf.dim():
            raise ShapeError(f"leaf {index} of y0 has no axes; wanted a leading batch axis with per_sample")
        if leaf.shape[0] != parts[0].shape[0]:
            raise ShapeError(
                f"leaf {index} of y0 has {leaf.shape[0]} rows, the first leaf {parts[0].shape[0]}; wanted one leading "
                "size with per_sample"
            )
    rows = parts[0].shape[0]
    if per_sample is True:
        return PerSample(rows, device, dtype)
    if not isinstance(per_sample, Tensor) or per_sample.dtype != torch.long or per_sample.shape != (rows,):
        got = f"{tuple(per_sample.shape)} {per_sample.dtype}" if isinstance(per_sample, Tensor) else repr(per_sample)
        raise ShapeError(f"per_sample is {got}; wanted True, False, or a long tensor of segment ids, ({rows},)")
    if per_sample.device != device:
        raise ShapeError(f"per_sample is on {per_sample.device}; wanted y0's device {device}")
    if rows and int(per_sample.min()) < 0:
        raise ShapeError(f"per_sample holds {int(per_sample.min())}; wanted segment ids from 0")
    samples = int(per_sample.max()) + 1 if rows else 0
    if isinstance(ts, Tensor) and ts.dim() == 2:
        if ts.shape[1] < samples:
            raise ShapeError(f"ts has {ts.shape[1]} columns, per_sample ids up to {samples - 1}; wanted a column each")
        samples = ts.shape[1]
    return Segments(per_sample, samples, device, dtype)


def checked_times(ts: Tensor | Sequence[float], layout: Layout) -> Tensor:
    """Report times in the dtype of times, `(T,)` or `(T, B)`."""
    if not isinstance(ts, Tensor):
        try:
            ts = torch.as_tensor(ts, dtype=layout.dtype, device=layout.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(f"ts is a {type(ts).__name__}; wanted a tensor of times, (T,)") from error
    if ts.is_complex() or ts.dtype == torch.bool:
        raise ShapeError(f"ts has dtype {ts.dtype}; wanted a real one")
    if ts.device != layout.device:
        raise ShapeError(f"ts is on {ts.device}, y0 on {layout.device}; wanted one device: ts.to(y0.device)")
    _refuse_batched(ts, "ts")
    allowed = ts.dim() == 1 or (ts.dim() == 2 and not layout.shared and ts.shape[1] == layout.samples)
    if not allowed:
        wanted = "(T,)" if layout.shared else f"(T,) or (T, {layout.samples})"
        hint = "; times of each sample's own need per_sample=True" if layout.shared and ts.dim() == 2 else ""
        raise ShapeError(f"ts has shape {tuple(ts.shape)}; wanted {wanted}{hint}")
    if ts.shape[0] < 2:
        raise ShapeError(
            f"ts has {ts.shape[0]} time{'s' * (ts.shape[0] != 1)}; wanted at least two: the start, ..., the end"
        )
    ts = ts.to(layout.dtype)
    if not (all_finite(ts) if layout.known else all(map(math.isfinite, layout.numbers(ts)))):
        raise ShapeError("ts holds NaN or inf; wanted finite times")
    if not _monotone(ts.detach(), layout):
        raise ShapeError("ts goes up and down; wanted weakly increasing or weakly decreasing times")
    if not layout.shared and ts.dim() == 1:
        ts = ts[:, None].expand(-1, layout.samples)  # type: ignore[arg-type]
    if ts.requires_grad and bool((ts.detach()[0] == ts.detach()[-1]).any()):
        raise GradientError("ts requires grad but a span is empty, where no step carries it; wanted ts.detach()")
    return ts


def _monotone(ts: Tensor, layout: Layout) -> bool:
    if ts.dim() == 1:
        times = layout.numbers(ts)
        return times in (ordered := sorted(times), ordered[::-1])
    steps = ts.diff(dim=0)
    return bool(((steps >= 0).all(0) | (steps <= 0).all(0)).all())


def checked_span(ts: Tensor, layout: Layout) -> Span:
    """Start, end and direction of each sample."""
    start, end = ts.detach()[0], ts.detach()[-1]
    if layout.shared:
        first, last = (start.item(), end.item()) if layout.known else layout.numbers(ts)[:: len(ts) - 1]
        return Span(first, last, math.copysign(1.0, last - first) if last != first else 1.0)
    return Span(start, end, torch.where(end >= start, torch.ones_like(start), -torch.ones_like(start)))


def checked_resume(resume: Final, span: Span, parts: tuple[object, object]) -> None:
    """A solve goes on at the time where it stopped, with the parts that it began with."""
    for name, before, now in zip(("solver", "controller"), resume.parts, parts, strict=True):
        if type(before) is not type(now):
            raise IncompatibleError(
                f"{name} is {type(now).__name__}, the earlier solve had {type(before).__name__}; wanted the same to go "
                "on, or y0=solution.final.y to begin anew"
            )
    if isinstance(resume.t, Tensor) != isinstance(span.start, Tensor):
        had = "per sample" if isinstance(resume.t, Tensor) else "that all samples share"
        raise IncompatibleError(
            f"the earlier solve had steps {had}; wanted the same per_sample to go on, or y0=solution.final.y to begin "
            "anew"
        )
    same = resume.t == span.start
    if not (bool(same.all()) if isinstance(same, Tensor) else same):
        raise ShapeError(
            f"ts starts at {span.start}, the earlier solve stopped at {resume.t}; wanted ts[0] to be that time"
        )


def checked_args(args: Tree) -> Tree:
    """Arguments: a tree of tensors and plain values."""
    for index, leaf in enumerate(flatten(args)[0]):
        if not isinstance(leaf, (Tensor, *_PLAIN)):
            raise IncompatibleError(
                f"leaf {index} of args is a {type(leaf).__name__}; wanted a tree of tensors and numbers: "
                "close over anything else, or make it part of the field's module"
            )
        if isinstance(leaf, Tensor):
            _refuse_batched(leaf, f"leaf {index} of args")
    return args


def checked_breakpoints(
    breaks: Tensor | None, jump_ts: Tensor | Sequence[float] | None, layout: Layout
) -> Tensor | None:
    """The field's and the controller's jump times as one tensor, `(K,)` or `(K, B)`."""
    parts = []
    for name, times in (("breakpoints", breaks), ("jump_ts", jump_ts)):
        if times is None:
            continue
        try:
            times = torch.as_tensor(times, dtype=layout.dtype, device=layout.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(f"{name} are {times!r}; wanted times, (K,)") from error
        if times.requires_grad:
            raise GradientError(f"{name} require grad, but step sizes and jumps are constants; wanted {name}.detach()")
        if times.dim() == 0:
            times = times.reshape(1)
        if times.dim() > 2 or (times.dim() == 2 and (layout.shared or times.shape[1] != layout.samples)):
            wanted = "(K,)" if layout.shared else f"(K,) or (K, {layout.samples})"
            raise ShapeError(f"{name} have shape {tuple(times.shape)}; wanted {wanted}")
        if not all_finite(times):
            raise ShapeError(f"{name} hold NaN or inf; wanted finite times")
        if not layout.shared and times.dim() == 1:
            times = times[:, None].expand(-1, layout.samples)  # type: ignore[arg-type]
        parts.append(times)
    return torch.cat(parts) if parts else None


def _refuse_batched(tensor: Tensor, where: str) -> None:
    if torch._C._functorch.is_batchedtensor(tensor):
        raise IncompatibleError(
            f"{where} is batched by torch.func.vmap, which cannot follow accept and reject decisions; wanted "
            "solve(..., per_sample=True) on the batch itself"
        )
