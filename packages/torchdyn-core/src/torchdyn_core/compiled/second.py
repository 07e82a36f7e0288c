"""Derivatives of higher order of a compiled solve: its steps, replayed eagerly as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from torchdyn_core.adjoint.base import find, gather_inputs
from torchdyn_core.adjoint.checkpointed import Recorded
from torchdyn_core.compiled.run import Chunk, Session, records
from torchdyn_core.errors import GradientError
from torchdyn_core.loop.problem import Outputs, Record, Rows
from torchdyn_core.tree import Spec, Tree, flatten, leaves, tree_map, unflatten

__all__ = ["differentiable"]


def differentiable(
    session: Session, chunks: list[Chunk], spec: Spec, environment: Sequence[Tensor],
    tensors: Sequence[Tensor], cotangents: Sequence[Tensor | None],
) -> list[Tensor | None]:  # fmt: skip
    """Gradients with a graph of their own.

    Arguments:
        session: The solve.
        chunks: Its steps.
        spec: The structure of its outputs.
        environment: What of the field's tensors is differentiated.
        tensors: Times, first state and carry, then the same as `environment`, as autograd saved them.
        cotangents: Of the outputs.

    Raises:
        GradientError: If the eager replay does not find a tensor that the compiled one has read.
    """
    problem = replace(session.problem, save=None)
    inputs = gather_inputs(problem, find(problem))
    steps, order = _with_rows(records(session, chunks), chunks, problem.layout.shared)
    total: Outputs = unflatten(list(cotangents), spec)
    if order is not None:
        total = total._replace(interior=_permuted(total.interior, order))
    own = len(tensors) - len(environment)
    outer = [*tensors[:own], *inputs.outer[own:]]
    replayed = Recorded(inputs, steps, spec, len(leaves(problem.y0)))
    results = replayed.differentiable(tuple(outer), tuple(flatten(total)[0]))
    found: list[Tensor | None] = list(results[:own])
    for tensor in environment:
        places = [i for i, other in enumerate(inputs.outer) if other is tensor]
        if not places:
            raise GradientError(
                f"the field uses a tensor of shape {tuple(tensor.shape)} that could not be found by walking it, so its "
                "second derivative would be lost. Pass it through args=, make it a parameter of the field's module, or "
                "use compile=False with adjoint='direct'."
            )
        grads = [results[i] for i in places if results[i] is not None]
        found.append(sum(grads[1:], grads[0]) if grads else None)  # type: ignore[arg-type]
    return found


def _with_rows(steps: list[Record], chunks: list[Chunk], shared: bool) -> tuple[list[Record], Tensor | None]:
    """Records with the reports that fall into them; the order in which those come, where it is not that of the run."""
    first, orders, seen = 0, [], 0
    for chunk in chunks:
        reading = chunk.reading
        if reading is not None:
            order = torch.argsort(reading.step, stable=True)
            orders.append(order + seen)
            seen += len(order)
            counts = torch.bincount(reading.step, minlength=chunk.rows).tolist()
            start = 0
            for index, count in enumerate(counts):
                if count:
                    part = order[start : start + count]
                    steps[first + index] = steps[first + index]._replace(rows=_rows(reading, part, shared))
                    start += count
        first += chunk.rows
    return steps, None if shared or not orders else torch.cat(orders)


def _rows(reading: object, part: Tensor, shared: bool) -> Rows:
    report = reading.report[part]  # type: ignore[attr-defined]
    if shared:
        return Rows(int(report[0]), int(report[-1]) + 1)
    return Rows(0, 0, report, reading.row[part], reading.sample[part])  # type: ignore[attr-defined]


def _permuted(interior: Tree, order: Tensor) -> Tree:
    return tree_map(lambda leaf: leaf[order], interior)
