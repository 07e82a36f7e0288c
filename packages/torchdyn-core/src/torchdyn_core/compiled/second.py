"""Derivatives of higher order of a compiled solve: its steps, replayed eagerly as one graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from torchdyn_core.adjoint.base import find, gather_inputs
from torchdyn_core.adjoint.checkpointed import Recorded
from torchdyn_core.compiled.reports import Reading
from torchdyn_core.compiled.run import Chunk, Session, records
from torchdyn_core.errors import GradientError
from torchdyn_core.loop.problem import Packing, Record, Rows
from torchdyn_core.tree import leaves

__all__ = ["differentiable"]


def differentiable(
    session: Session, chunks: list[Chunk], packing: Packing, environment: Sequence[Tensor],
    tensors: Sequence[Tensor], cotangents: Sequence[Tensor | None],
) -> list[Tensor | None]:  # fmt: skip
    """Gradients with a graph of their own.

    Arguments:
        session: The solve.
        chunks: Its steps.
        packing: The structure of its outputs.
        environment: What of the field's tensors is differentiated.
        tensors: Times, first state and carry, then the same as `environment`, as autograd saved them.
        cotangents: Of the outputs.

    Raises:
        GradientError: If the eager replay does not find a tensor that the compiled one has read.
    """
    problem = replace(session.problem, save=None)
    inputs = gather_inputs(problem, find(problem))
    steps = _with_rows(records(session, chunks), chunks, problem.layout.shared)
    own = len(tensors) - len(environment)
    outer = [*tensors[:own], *inputs.outer[own:]]
    replayed = Recorded(inputs, steps, packing, len(leaves(problem.y0)))
    results = replayed.differentiable(tuple(outer), tuple(cotangents))
    found: list[Tensor | None] = list(results[:own])
    for tensor in environment:
        places = [i for i, other in enumerate(inputs.outer) if other is tensor]
        if not places:
            raise GradientError(
                f"the field uses a tensor of shape {tuple(tensor.shape)} that could not be found by walking it, so its "
                "second derivative would be lost. Pass it through args=, make it a parameter of the field's module, or "
                "use compile=False with adjoint='direct'."
            )
        grads = [grad for i in places if (grad := results[i]) is not None]
        found.append(torch.stack(grads).sum(0) if grads else None)
    return found


def _with_rows(steps: list[Record], chunks: list[Chunk], shared: bool) -> list[Record]:
    """Records with the reports that fall into them, which a reading has in the order of its steps."""
    first = 0
    for chunk in chunks:
        reading = chunk.reading
        if reading is not None:
            start = 0
            for index, count in enumerate(torch.bincount(reading.step, minlength=chunk.rows).tolist()):
                if count:
                    here = slice(start, start + count)
                    steps[first + index] = steps[first + index]._replace(rows=_rows(reading, here, shared))
                    start += count
        first += chunk.rows
    return steps


def _rows(reading: Reading, here: slice, shared: bool) -> Rows:
    report = reading.report[here]
    if shared:
        return Rows(int(report[0]), int(report[-1]) + 1)
    assert reading.row is not None and reading.sample is not None
    return Rows(0, 0, report, reading.row[here], reading.sample[here])
