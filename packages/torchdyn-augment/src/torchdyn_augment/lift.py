"""Augmentations: room for a state to move in that its data do not have."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from torchdyn_augment.checks import checked_axis, checked_count, checked_layer
from torchdyn_core import ShapeError

__all__ = ["InputLayerAugmentation", "ZeroAugmentation"]


class ZeroAugmentation(nn.Module):
    """Further dimensions that start at zero (ANODE): trajectories that would have to cross pass each other there.

    Arguments:
        dims: How many dimensions, or channels, are added.
        axis: Where they are added: 1 for `(N, features)` and for images `(N, channels, H, W)`; -1 for vectors with any
            number of axes in front.

    Shapes:
        lift: `(N, C, *)` to `(N, C + dims, *)`; `project` the other way, which keeps the first ones.

    Raises:
        OptionError: If `dims` is no whole number of at least 1.
        ShapeError: If the state is no tensor, or has no such axis.

    References:
        Dupont, Doucet, Teh (2019), Augmented neural ODEs. arXiv 1904.01681

    Example:
        >>> import torch
        >>> from torchdyn_core import NeuralODE, autonomous
        >>> from torchdyn_augment import ZeroAugmentation
        >>> layer = NeuralODE(autonomous(torch.nn.Linear(3, 3)), augmentation=ZeroAugmentation(1))
        >>> layer(torch.ones(5, 2)).shape
        torch.Size([5, 2])
    """

    def __init__(self, dims: int = 1, *, axis: int = 1) -> None:
        super().__init__()
        self.dims, self.axis = checked_count("dims", dims), axis

    def lift(self, y: Tensor) -> Tensor:
        """The state with zeros behind it."""
        axis = checked_axis(self, y, self.axis)
        shape = list(y.shape)
        shape[axis] = self.dims
        return torch.cat((y, y.new_zeros(shape)), axis)

    def project(self, y: Tensor) -> Tensor:
        """The state without what was added."""
        return _first(self, y, self.axis, self.dims)

    def extra_repr(self) -> str:
        return f"{self.dims}, axis={self.axis}"


class InputLayerAugmentation(nn.Module):
    """Further dimensions, or the whole state, that a layer computes from the input.

    Arguments:
        layer: Gives the dimensions that are added: `(N, C, *)` to `(N, dims, *)`; with `whole` all of them, to
            `(N, C + dims, *)`. A linear layer for vectors, a convolution that keeps height and width for images.
        dims: How many dimensions, or channels, are added.
        whole: Whether the layer makes the whole state to solve from; what is projected is no longer the input then,
            where nothing is solved, but what the layer made of it.
        axis: Where they are added: 1 for `(N, features)` and for images `(N, channels, H, W)`; -1 for vectors with any
            number of axes in front.

    Shapes:
        lift: `(N, C, *)` to `(N, C + dims, *)`; `project` the other way, which keeps the first ones.

    Raises:
        OptionError: If `dims` is no whole number of at least 1.
        IncompatibleError: If the layer is no module.
        ShapeError: If the state is no tensor, has no such axis, or is not what a convolution or a linear layer takes
            for it; if the layer gives another shape or dtype than wanted.

    References:
        Massaroli, Poli, Park, Yamashita, Asama (2020), Dissecting neural ODEs, section 4. arXiv 2002.08071

    Example:
        >>> import torch
        >>> from torchdyn_augment import InputLayerAugmentation
        >>> augmentation = InputLayerAugmentation(torch.nn.Linear(2, 3), dims=3)
        >>> augmentation.lift(torch.ones(5, 2)).shape
        torch.Size([5, 5])
    """

    def __init__(self, layer: nn.Module, dims: int, *, whole: bool = False, axis: int = 1) -> None:
        super().__init__()
        self.layer = checked_layer("layer", layer)
        self.dims, self.whole, self.axis = checked_count("dims", dims), whole, axis

    def lift(self, y: Tensor) -> Tensor:
        """The state with what the layer makes of it behind it; with `whole` what it makes of it alone."""
        axis = checked_axis(self, y, self.axis)
        _check_first(self.layer, y, axis)
        wanted = list(y.shape)
        wanted[axis] = y.shape[axis] + self.dims if self.whole else self.dims
        made = self.layer(y)
        if isinstance(made, Tensor) and torch.is_autocast_enabled(y.device.type):
            made = made.to(y.dtype)
        if not isinstance(made, Tensor) or list(made.shape) != wanted or made.dtype != y.dtype:
            got = f"{tuple(made.shape)} {made.dtype}" if isinstance(made, Tensor) else type(made).__name__
            raise ShapeError(
                f"the layer made {got} of a state {tuple(y.shape)} {y.dtype}; wanted {tuple(wanted)} {y.dtype}: "
                f"dims={self.dims}, whole={self.whole}, axis={self.axis}"
            )
        return made if self.whole else torch.cat((y, made), axis)

    def project(self, y: Tensor) -> Tensor:
        """The state without what was added."""
        return _first(self, y, self.axis, self.dims)

    def extra_repr(self) -> str:
        return f"dims={self.dims}, whole={self.whole}, axis={self.axis}"


def _first(owner: object, y: Tensor, axis: int, dims: int) -> Tensor:
    axis = checked_axis(owner, y, axis)
    if y.shape[axis] <= dims:
        raise ShapeError(
            f"{type(owner).__name__} got a state with {y.shape[axis]} dimensions on axis {axis}; wanted more than the "
            f"{dims} that it added"
        )
    return y.narrow(axis, 0, y.shape[axis] - dims)


def _check_first(layer: nn.Module, y: Tensor, axis: int) -> None:
    """A layer that sees the state itself: torch takes more ranks than fit, and mixes what lies on another axis."""
    while isinstance(layer, nn.Sequential) and len(layer):
        layer = layer[0]
    if isinstance(layer, _ConvNd) and y.dim() != 2 + len(layer.kernel_size):
        spans = {1: "L", 2: "H, W", 3: "D, H, W"}[len(layer.kernel_size)]
        raise ShapeError(
            f"the layer is a {type(layer).__name__} and the state has shape {tuple(y.shape)}; wanted (N, C, {spans}), "
            "or a linear layer"
        )
    if isinstance(layer, nn.Linear) and axis != y.dim() - 1:
        raise ShapeError(
            f"the layer is a Linear, which mixes the last axis, and the state {tuple(y.shape)} is added to on axis "
            f"{axis}; wanted axis=-1, or a convolution for (N, channels, H, W)"
        )
