"""What every augmentation has to do."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from torch import nn

from torchdyn_core.field import autonomous
from torchdyn_core.neural_ode import Augmentation, NeuralODE
from torchdyn_core.testing.suite import Suite
from torchdyn_core.tree import Tree, leaves, tree_map

__all__ = ["AugmentationSuite"]


class AugmentationSuite(Suite[Augmentation], suite=True):
    """Lifting and projecting: inverse to each other, row by row, differentiable, inside a `NeuralODE`.

    Attributes:
        shape: Shape of a state, rows first.
        identity: Whether `project(lift(y))` is `y`; False for learned lifts of the whole state.

    Example:
        >>> import torch
        >>> from torchdyn_core.testing import AugmentationSuite
        >>> class Pad:
        ...     def lift(self, y):
        ...         return torch.cat((y, torch.zeros_like(y)), -1)
        ...     def project(self, y):
        ...         return y[..., : y.shape[-1] // 2]
        >>> class TestPad(AugmentationSuite):
        ...     def make(self):
        ...         return Pad()
    """

    shape: ClassVar[tuple[int, ...]] = (4, 2)
    identity: ClassVar[bool] = True

    def state(self) -> Tree:
        """A state to lift; the leading axis is the batch."""
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(0))

    def test_project_undoes_lift(self) -> None:
        """Where nothing is solved, nothing happens: in value, or at least in shape."""
        augmentation, y = self.make(), self.state()
        back = augmentation.project(augmentation.lift(y))
        for a, b in zip(leaves(back), leaves(y), strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            if self.identity:
                assert torch.equal(a, b)

    def test_rows_do_not_know_each_other(self) -> None:
        """A row is lifted alone as it is in the batch."""
        augmentation, y = self.make(), self.state()
        together = leaves(augmentation.lift(y))
        for row in range(leaves(y)[0].shape[0]):
            alone = leaves(augmentation.lift(tree_map(lambda leaf, row=row: leaf[row : row + 1], y)))
            for a, b in zip(together, alone, strict=True):
                torch.testing.assert_close(a[row : row + 1], b)

    def test_gradients_pass(self) -> None:
        """To the state, and to every parameter that lifting or projecting uses."""
        augmentation, y = self.make(), tree_map(lambda leaf: leaf.requires_grad_(), self.state())
        lifted = tree_map(lambda leaf: leaf.sin(), augmentation.lift(y))
        out = torch.stack([leaf.sum() for leaf in leaves(augmentation.project(lifted))]).sum()
        parameters = list(augmentation.parameters()) if isinstance(augmentation, nn.Module) else []
        grads = torch.autograd.grad(out, leaves(y), retain_graph=True)
        assert all(bool(grad.any()) for grad in grads)
        (torch.stack([leaf.sum() for leaf in leaves(lifted)]).sum() + out).backward()
        for parameter in parameters:
            assert parameter.grad is not None, f"a parameter of shape {tuple(parameter.shape)} is used by neither"

    def test_float64_is_kept(self) -> None:
        """A state in double precision stays in it."""
        augmentation, y = self.make(), tree_map(lambda leaf: leaf.double(), self.state())
        if isinstance(augmentation, nn.Module):
            augmentation = augmentation.double()
        for leaf in [*leaves(augmentation.lift(y)), *leaves(augmentation.project(augmentation.lift(y)))]:
            assert leaf.dtype == torch.float64

    def test_it_fits_into_a_neural_ode(self) -> None:
        """The layer keeps the shape of its input, and copies of it work alike."""
        y = self.state()
        if not isinstance(self.make().lift(y), torch.Tensor):
            pytest.skip("the lifted state is a tree")
        layer = NeuralODE(autonomous(torch.tanh), augmentation=self.make())
        out = layer(y)
        assert out.shape == y.shape
        assert torch.equal(copy.deepcopy(layer)(y), out)
        assert set(layer.state_dict()) == set(copy.deepcopy(layer).state_dict())
