"""The continuous adjoint as a vector field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import torch
from torch import Tensor

from torchdyn_core.binding import BoundField, autograd_sequence
from torchdyn_core.field import VectorField, real_dtype
from torchdyn_core.leaves import check_known
from torchdyn_core.tree import Spec, Tree, align, leaves, unflatten

__all__ = ["AdjointField", "AdjointProblem", "Augmented", "augmented"]


@dataclass(frozen=True, eq=False)
class AdjointProblem:
    """What a continuous adjoint differentiates.

    Arguments:
        targets: Tensors that the field depends on, whose gradients are integrated along.
        loss: The running loss, called with the time as the field gets it and the state, or None.
        loss_cotangents: Cotangent of each leaf of the running loss's integral.
        rates: None where the adjoint runs in time itself. Else pairs `(start, rate)` of shape `(R,)`: it runs in
            `s` with `t = start + rate * s`, so that samples with spans of their own share their steps.
        known: Identities of the tensors whose gradient is delivered; None while a compiler traces the field, which
            finds out by itself what the field reads.
        spec: The state's structure.
        dtype: The dtype of times.
        rowwise: Whether rows of the state have times of their own.
        reached: Takes down which targets the field has used so far: the others have no gradient, rather than zero.
    """

    targets: list[Tensor]
    loss: Callable[[Tensor, Tree], Tree] | None
    loss_cotangents: list[Tensor | None]
    rates: tuple[Tensor, Tensor] | None
    known: set[int] | None
    spec: Spec
    dtype: torch.dtype
    rowwise: bool = False
    reached: set[int] = dataclass_field(default_factory=set)


class AdjointField(VectorField):
    r"""State, adjoint and gradients in one field, to be integrated from the end of an interval to its start.

    With the running loss `l` and its cotangent `w`,

    .. math:: \dot y = f, \quad \dot a = -a^T \partial_y f - w \partial_y l, \quad
        \dot g = -a^T \partial_\theta f - w \partial_\theta l.

    Shapes:
        y: A tuple of three lists: the leaves of the state, their adjoints, and a gradient for each target.

    References:
        | Chen, Rubanova, Bettencourt, Duvenaud (2018), Neural ordinary differential equations. arXiv 1806.07366
        | Massaroli, Poli, Bin, Park, Yamashita, Asama (2020), Stable neural flows (the adjoint with a running loss).
          arXiv 2003.08063
    """

    def __init__(self, bound: BoundField, problem: AdjointProblem) -> None:
        super().__init__()
        self.bound, self.problem = bound, problem

    def forward(self, t: Tensor, y: Tree, *args: Tree) -> Tree:
        """The slopes of state, adjoint and gradients."""
        state, adjoint, _ = y
        if self.problem.rates is None:
            t = t.to(self.problem.dtype)
            return self.slope(t.expand(state[0].shape[0]) if self.problem.rowwise else t, state, adjoint)
        start, rate = self.problem.rates
        slopes = self.slope(start + rate * t, state, adjoint)
        states, adjoints, gradients = slopes
        # each row runs at its own rate; gradients already sum rows that were weighed with it
        return scaled(rate, states), scaled(rate, adjoints), gradients

    def slope(
        self, t: Tensor, state: list[Tensor], adjoint: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The three slopes at a time; with rates, gradients come weighed with them."""
        return self.pulled(lambda y: self.bound(t, y), t, state, adjoint, self.problem.loss)

    def pulled(
        self,
        part: Callable[[Tree], Tree],
        t: Tensor,
        state: list[Tensor],
        adjoint: list[Tensor],
        loss: Callable[[Tensor, Tree], Tree] | None = None,
        weighed: bool = True,
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What a part of the field does to state, adjoint and gradients.

        Arguments:
            part: A function of the state, evaluated through the bound field.
            t: The time.
            state: Leaves of the state.
            adjoint: Leaves of the adjoint.
            loss: The running loss that counts along with it.
            weighed: Whether rates weigh gradients: not where the part is no slope in time.
        """
        problem = self.problem
        sequence = 0 if problem.known is None else autograd_sequence()
        with torch.enable_grad():
            own = [leaf.detach().requires_grad_() for leaf in state]
            alive = unflatten(own, problem.spec)
            dy = part(alive)
            pairs = list(zip(leaves(dy), adjoint, strict=True))
            if loss is not None:
                value = leaves(loss(self.bound.time(t, alive), alive))
                pairs += [(v, c) for v, c in zip(value, problem.loss_cotangents, strict=True) if c is not None]
            pairs = [(out, cot) for out, cot in pairs if out.requires_grad]
            targets = [*own, *problem.targets]
            if problem.known is not None:
                inside = [*own, *self.bound.take_times()]
                check_known([out for out, _ in pairs], problem.known | {id(leaf) for leaf in inside}, sequence)
            grads = self._grads(pairs, own, problem.rates if weighed else None)
        problem.reached.update(i for i, g in enumerate(grads[len(own) :]) if g is not None)
        down = [torch.zeros_like(x) if g is None else -g for x, g in zip(targets, grads, strict=True)]
        return [leaf.detach() for leaf in leaves(dy)], down[: len(own)], down[len(own) :]

    def _grads(
        self, pairs: list[tuple[Tensor, Tensor]], own: list[Tensor], rates: tuple[Tensor, Tensor] | None
    ) -> Sequence[Tensor | None]:
        targets = self.problem.targets
        if not pairs:
            return [None] * (len(own) + len(targets))
        outs, cots = [out for out, _ in pairs], [cot for _, cot in pairs]
        if rates is None:
            return list(torch.autograd.grad(outs, [*own, *targets], cots, allow_unused=True))
        # parameters have no batch axis: weigh each row's share with its rate before they are summed
        rows = list(torch.autograd.grad(outs, own, cots, allow_unused=True, retain_graph=bool(targets)))
        weighed = scaled(rates[1], cots)
        return rows + (list(torch.autograd.grad(outs, targets, weighed, allow_unused=True)) if targets else [])


class Augmented(BoundField):
    """The continuous adjoint of a bound field, itself bound: what a backward solve integrates.

    Arguments:
        inner: The field.
        problem: What is differentiated.
    """

    def __init__(self, inner: BoundField, problem: AdjointProblem) -> None:
        super().__init__(augmented(inner, problem))
        self.inner, self.problem = inner, problem


def augmented(bound: BoundField, problem: AdjointProblem) -> VectorField:
    """The field of the continuous adjoint, the field's own where it has one."""
    source = bound.source
    return source.adjoint_field(bound, problem) if isinstance(source, VectorField) else AdjointField(bound, problem)


def scaled(rate: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    """Slopes in `s` from slopes in `t`, row by row."""
    return [align(rate, x).to(real_dtype(x)) * x for x in tensors]
