"""Kinds of noise: what shape a diffusion has, what drives it, and how it acts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchdyn_core import OptionError, ShapeError
from torchdyn_core.errors import close_matches
from torchdyn_core.tree import Tree, flatten, leaves, tree_map, unflatten
from torchdyn_sde.noise_shape import NoiseShape

__all__ = ["NOISES", "Noise", "noise_named"]


class Noise(ABC):
    """One kind of noise. What it says about shapes is about each leaf of a state; the last axis is that of components.

    Attributes:
        name: As users call it.
        commutes: Whether the order in which noises act does not matter to an increment.
        elementwise: Whether each entry of the state has a noise of its own.
        constant: Whether the diffusion is the same in all states.
    """

    name: ClassVar[str]
    commutes: ClassVar[bool] = True
    elementwise: ClassVar[bool] = False
    constant: ClassVar[bool] = False

    def checked(self, g: Tree, y: Tree) -> Tree:
        """A diffusion that fits the state.

        Raises:
            ShapeError: If it does not.
        """
        states, spec = flatten(y)
        try:
            found = [g] if spec is None else spec.flatten_up_to(g)
        except ValueError as error:
            raise ShapeError(f"the diffusion returned {type(g).__name__}; wanted a tree like y0") from error
        return unflatten([self._checked_leaf(*pair) for pair in zip(found, states, strict=True)], spec)

    def _checked_leaf(self, g: Any, y: Tensor) -> Tensor:
        if not isinstance(g, Tensor):
            raise ShapeError(f"the diffusion returned {type(g).__name__}; wanted a tensor of {self.wanted(y)}")
        if not self.fits(y, g):
            raise ShapeError(
                f"the diffusion returned shape {tuple(g.shape)} for a state {tuple(y.shape)}; wanted {self.wanted(y)}, "
                f"as noise={self.name!r} has"
            )
        if g.device != y.device:
            raise ShapeError(f"the diffusion returned a tensor on {g.device}; wanted y's device {y.device}")
        if g.dtype == y.dtype:
            return g
        if torch.is_autocast_enabled(y.device.type) and not g.is_complex():
            return g.to(y.dtype)  # autocast's half precision ends at the field
        raise ShapeError(f"the diffusion returned {g.dtype}; wanted y's dtype {y.dtype}")

    def shape(self, y: Tree, g: Tree) -> NoiseShape:
        """The shape of the Brownian path, from a state and a diffusion that fits it.

        Raises:
            ShapeError: If leaves of a tree do not go together.
        """
        states, spec = flatten(y)
        return self._shape(states, leaves(g), spec)

    @abstractmethod
    def fits(self, y: Tensor, g: Tensor) -> bool:
        """Whether a diffusion fits a state."""

    @abstractmethod
    def wanted(self, y: Tensor) -> str:
        """The shape that a diffusion should have, in words."""

    @abstractmethod
    def _shape(self, y: list[Tensor], g: list[Tensor], spec: object) -> NoiseShape:
        """The path's shape, from leaves that fit."""

    @abstractmethod
    def act(self, g: Tree, dw: Tree) -> Tree:
        """The diffusion times a noise: what it adds to the state."""


class Diagonal(Noise):
    """Each entry of the state has its own noise: the diffusion is shaped like the state, and acts entry by entry."""

    name = "diagonal"
    elementwise = True

    def fits(self, y: Tensor, g: Tensor) -> bool:
        return g.shape == y.shape

    def wanted(self, y: Tensor) -> str:
        return f"y's shape {tuple(y.shape)}, a factor for each entry"

    def _shape(self, y: list[Tensor], g: list[Tensor], spec: object) -> NoiseShape:
        return NoiseShape(tuple(leaf.shape for leaf in y), spec)

    def act(self, g: Tree, dw: Tree) -> Tree:
        return tree_map(torch.mul, g, dw)


class Scalar(Noise):
    """One noise for all components: the diffusion is shaped like the state."""

    name = "scalar"

    def fits(self, y: Tensor, g: Tensor) -> bool:
        return g.shape == y.shape

    def wanted(self, y: Tensor) -> str:
        return f"y's shape {tuple(y.shape)}, a factor for each component of the one noise"

    def _shape(self, y: list[Tensor], g: list[Tensor], spec: object) -> NoiseShape:
        return NoiseShape((torch.Size((*_batch(y), 1)),), None)

    def act(self, g: Tree, dw: Tree) -> Tree:
        return tree_map(lambda leaf: leaf * (dw if leaf.dim() else dw[0]), g)


class General(Noise):
    """As many noises as there are columns: the diffusion has one more axis than the state, behind its components."""

    name = "general"
    commutes = False

    def fits(self, y: Tensor, g: Tensor) -> bool:
        return g.dim() == y.dim() + 1 and g.shape[:-1] == y.shape and g.shape[-1] > 0

    def wanted(self, y: Tensor) -> str:
        sizes = ", ".join(str(size) for size in (*y.shape, "m"))
        return f"({sizes}), a column for each of m noises" if y.dim() else "(m,), an entry for each of m noises"

    def _shape(self, y: list[Tensor], g: list[Tensor], spec: object) -> NoiseShape:
        columns = {leaf.shape[-1] for leaf in g}
        if len(columns) > 1:
            raise ShapeError(
                f"the diffusion's leaves have {sorted(columns)} columns; wanted as many in each: one noise"
            )
        return NoiseShape((torch.Size((*_batch(y), columns.pop())),), None)

    def act(self, g: Tree, dw: Tree) -> Tree:
        return tree_map(lambda leaf: (leaf * (dw[..., None, :] if leaf.dim() > 1 else dw)).sum(-1), g)


class Commutative(General):
    """General noise whose columns commute: `sum_k g_ki d(g_j)/dy_k` is the same with i and j exchanged."""

    name = "commutative"
    commutes = True


class Additive(General):
    """Noise that is the same in all states; the diffusion may be shaped like the state, too: a noise for each entry."""

    name = "additive"
    commutes = True
    constant = True

    def fits(self, y: Tensor, g: Tensor) -> bool:
        # of a state without axes its own shape alone: a row of factors could be either
        return g.shape == y.shape or (y.dim() > 0 and super().fits(y, g))

    def wanted(self, y: Tensor) -> str:
        own = f"y's shape {tuple(y.shape)}, a factor for each entry"
        return f"{own}, or {super().wanted(y)}" if y.dim() else own

    def _shape(self, y: list[Tensor], g: list[Tensor], spec: object) -> NoiseShape:
        if all(a.shape == b.shape for a, b in zip(y, g, strict=True)):
            return NoiseShape(tuple(leaf.shape for leaf in y), spec)
        if any(a.shape == b.shape for a, b in zip(y, g, strict=True)):
            raise ShapeError("the diffusion has an axis of noises in some leaves only; wanted it in all or in none")
        return super()._shape(y, g, spec)

    def act(self, g: Tree, dw: Tree) -> Tree:
        parts, noises = leaves(g), leaves(dw)
        if len(parts) == len(noises) and all(a.shape == b.shape for a, b in zip(parts, noises, strict=True)):
            return tree_map(torch.mul, g, dw)
        return super().act(g, dw)


def _batch(states: list[Tensor]) -> torch.Size:
    """The axes in front of the components, on which noises are independent."""
    batches = {leaf.shape[:-1] for leaf in states}
    if len(batches) > 1:
        raise ShapeError(
            f"the state's leaves have leading axes {sorted(map(tuple, batches))}; wanted the same ones: one noise "
            "drives all of them"
        )
    return batches.pop()


NOISES = {kind.name: kind() for kind in (Diagonal, Scalar, Additive, General, Commutative)}


def noise_named(name: str) -> Noise:
    """The kind of noise of a name.

    Raises:
        OptionError: If there is none.
    """
    if not isinstance(name, str) or name not in NOISES:
        hint = close_matches(name, NOISES) if isinstance(name, str) else ""
        raise OptionError(f"noise={name!r}; wanted one of {', '.join(NOISES)}{hint}")
    return NOISES[name]
