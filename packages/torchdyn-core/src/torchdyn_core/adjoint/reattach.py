"""Gradients computed on stand-ins, as functions of what these stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["reattach"]


def reattach(results: list[Tensor | None], inner: list[Tensor], outer: list[Tensor]) -> list[Tensor | None]:
    """Hand results over from a graph on stand-ins to the graph of the originals, derivatives of every order included.

    Were the results differentiated with respect to the originals themselves, an original that depends on another (a
    state computed from a weight that the field uses too), or that stands in two places, would be counted in the inner
    graph and once more outside.

    Arguments:
        results: Tensors computed from the stand-ins, with a graph; None passes through.
        inner: The stand-ins: leaves, each of its own.
        outer: What they stand for.
    """
    live = [result for result in results if result is not None and result.requires_grad]
    if not live:
        return results
    handed: Any = iter(_Reattached.apply(live, inner, *outer))  # type: ignore[no-untyped-call]
    return [next(handed) if result is not None and result.requires_grad else result for result in results]


class _Reattached(torch.autograd.Function):
    """Values of results; differentiates the graph that they came from."""

    @staticmethod
    def forward(ctx: Any, results: list[Tensor], inner: list[Tensor], *outer: Tensor) -> tuple[Tensor, ...]:
        ctx.results, ctx.inner = results, inner
        ctx.save_for_backward(*outer)
        ctx.set_materialize_grads(False)
        return tuple(result.detach() for result in results)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Any, ...]:
        outer = ctx.saved_tensors
        graph = torch.is_grad_enabled()
        pairs = [(result, c) for result, c in zip(ctx.results, cotangents, strict=True) if c is not None]
        given = [c for _, c in pairs]
        own = [c.detach().requires_grad_() if graph else c for c in given]
        wanted = [i for i, leaf in enumerate(ctx.inner) if leaf.requires_grad]
        found: Sequence[Tensor | None] = torch.autograd.grad(
            [result for result, _ in pairs],
            [ctx.inner[i] for i in wanted],
            own,
            allow_unused=True,
            retain_graph=True,
            create_graph=graph,
        )
        grads: list[Tensor | None] = [None] * len(outer)
        if graph:
            found = reattach(list(found), [*ctx.inner, *own], [*outer[: len(ctx.inner)], *given])
        for i, grad in zip(wanted, found, strict=True):
            grads[i] = grad
        return None, None, *grads
