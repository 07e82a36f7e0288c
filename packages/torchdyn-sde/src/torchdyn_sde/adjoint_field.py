"""The stochastic adjoint as a field: what `Backsolve` integrates from the end of a path to its start."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchdyn_core.adjoint.continuous import AdjointField, AdjointProblem, scaled
from torchdyn_core.binding import BoundField
from torchdyn_core.tree import Tree, unflatten
from torchdyn_sde.brownian import BrownianIncrement
from torchdyn_sde.field import SDEField
from torchdyn_sde.noise import Noise
from torchdyn_sde.noise_shape import NoiseShape

__all__ = ["AdjointNoise", "StochasticAdjointField"]


class AdjointNoise(Noise):
    """Noise that acts on state, adjoint and gradients.

    Its diffusion is no matrix of theirs, which has a gradient of all parameters for each row and each noise, but the
    point where it is taken: time, state and adjoint. There a product of vector and Jacobian tells what it does.

    Arguments:
        field: The field whose adjoint it is.
    """

    def __init__(self, field: StochasticAdjointField) -> None:
        self._field = field
        self.name = field.inner.noise.name  # type: ignore[misc]
        self.commutes = field.inner.noise.commutes  # type: ignore[misc]

    def checked(self, g: Tree, y: Tree) -> Tree:
        return g

    def shape(self, y: Tree, g: Tree) -> NoiseShape:
        time, state, _ = g
        return self._field.noise_shape(time, state)

    def act(self, g: Tree, dw: Tree) -> Tree:
        time, state, adjoint = g
        return self._field.pushed(time, state, adjoint, dw)

    def fits(self, y: Tensor, g: Tensor) -> bool:
        return True

    def wanted(self, y: Tensor) -> str:
        return "no shape of its own"

    def _shape(self, y: list[Tensor], g: list[Tensor], spec: object) -> NoiseShape:
        raise NotImplementedError("the noise of an adjoint has the shape of its field's")


class StochasticAdjointField(SDEField):
    r"""State, adjoint and gradients of a stochastic equation, driven by the path that drove it.

    In Stratonovich's sense, in which an equation run backwards is the same equation,

    .. math:: dy = f dt + g \circ dW, \quad da = -a^T \partial_y f dt - a^T \partial_y g \circ dW, \quad
        d\gamma = -a^T \partial_\theta f dt - a^T \partial_\theta g \circ dW.

    Arguments:
        bound: The field, as the solve saw it.
        problem: What is differentiated.

    Shapes:
        y: A tuple of three lists: the leaves of the state, their adjoints, and a gradient for each target.

    References:
        Li, Wong, Chen, Duvenaud (2020), Scalable gradients for stochastic differential equations. arXiv 2001.01328
    """

    def __init__(self, bound: BoundField, problem: AdjointProblem) -> None:
        source = bound.source
        assert isinstance(source, SDEField)
        super().__init__(self._slopes, self._point, noise="general", interpretation="stratonovich")
        self.inner = source.to_stratonovich()
        self.path = source.path
        self._adjoint = AdjointField(bound, problem)
        self._known_shape: NoiseShape | None = None
        self.noise = AdjointNoise(self)
        self.tried = [True]  # what the field declares of itself was tried on the way forward

    def _slopes(self, t: Tensor, y: Tree) -> Tree:
        state, adjoint, _ = y
        problem, bound = self._adjoint.problem, self._adjoint.bound
        time = self._time(t, state)

        def drift(z: Tree) -> Tree:
            return bound.evaluate(self.inner.drift, time, z)

        slopes = self._adjoint.pulled(drift, time, state, adjoint, problem.loss)
        if problem.rates is None:
            return slopes
        states, adjoints, gradients = slopes
        return scaled(problem.rates[1], states), scaled(problem.rates[1], adjoints), gradients

    def _point(self, t: Tensor, y: Tree) -> Tree:
        state, adjoint, _ = y
        return self._time(t, state), list(state), list(adjoint)

    def _time(self, t: Tensor, state: list[Tensor]) -> Tensor:
        problem = self._adjoint.problem
        if problem.rates is not None:
            start, rate = problem.rates
            return start + rate * t
        t = t.to(problem.dtype)
        return t.expand(state[0].shape[0]) if problem.rowwise else t

    def pushed(self, time: Tensor, state: list[Tensor], adjoint: list[Tensor], dw: Tree) -> Tree:
        """What a noise does to state, adjoint and gradients at a point."""
        bound, noise = self._adjoint.bound, self.inner.noise

        def push(z: Tree) -> Tree:
            return noise.act(bound.evaluate(self.inner.diffusion, time, z, noise.checked), dw)

        return self._adjoint.pulled(push, time, state, adjoint, weighed=False)

    def noise_shape(self, time: Tensor, state: list[Tensor]) -> NoiseShape:
        """The shape of the path, which the diffusion is asked for once."""
        if self._known_shape is None:
            bound, noise, z = self._adjoint.bound, self.inner.noise, unflatten(state, self._adjoint.problem.spec)
            with torch.no_grad():
                g = bound.evaluate(self.inner.diffusion, time, z, noise.checked)
            self._known_shape = noise.shape(z, g)
        return self._known_shape

    def increment(self, t0: Tensor, t1: Tensor, y: Tree, g: Any) -> BrownianIncrement:
        rates = self._adjoint.problem.rates
        if rates is not None:
            start, rate = rates
            t0, t1 = start + rate * t0, start + rate * t1
        return super().increment(t0, t1, y, g)
