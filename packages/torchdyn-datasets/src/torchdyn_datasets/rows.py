"""What records have in common: checks of their tensors, cuts between rows, moves to a device or a dtype."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from torchdyn_core import IrregularSeries, OptionError, ShapeError
from torchdyn_datasets.checks import checked_between

if TYPE_CHECKING:
    from torchdyn_datasets.records import Graph, Images, Points, Series, Trajectories

__all__ = ["Target", "check_axes", "check_real", "check_rows", "divided", "moved"]

R = TypeVar("R", "Points", "Trajectories", "Images", "Series")
M = TypeVar("M", "Points", "Trajectories", "Images", "Series", "Graph")

Target = torch.device | torch.dtype | str


def check_axes(name: str, tensor: Tensor, axes: int) -> None:
    """Raise `ShapeError` unless a tensor has so many axes."""
    if tensor.dim() != axes:
        raise ShapeError(f"{name} {tuple(tensor.shape)}; wanted {axes} axes")


def check_real(name: str, tensor: Tensor | None) -> None:
    """Raise `ShapeError` if numbers are whole or complex: to be made such, they were cut off, or are to be."""
    if tensor is not None and not tensor.is_floating_point():
        raise ShapeError(f"{name} are {tensor.dtype}; wanted real floating-point numbers")


def check_rows(record: Any, rows: int, names: tuple[str, ...]) -> None:
    """Raise `ShapeError` unless what a record has of these has so many rows."""
    for name in names:
        tensor = getattr(record, name)
        if tensor is not None and (tensor.dim() < 1 or len(tensor) != rows):
            raise ShapeError(f"{name} {tuple(tensor.shape)}; wanted {rows} rows")


def divided(record: R, rows: int, share: float) -> tuple[R, R]:
    """A record cut in two between rows."""
    cut = round(rows * checked_between("share", share, inside=True))
    if not 0 < cut < rows:
        raise OptionError(f"share={share!r} of {rows} rows leaves a part empty; wanted at least a row in each")
    return _part(record, slice(None, cut), "train"), _part(record, slice(cut, None), "test")


def moved(record: M, target: Target) -> M:
    """A record whose tensors are on a device, or whose floating-point tensors have a dtype.

    Raises:
        OptionError: If the dtype is none of real floating-point numbers.
    """
    if isinstance(target, torch.dtype) and not target.is_floating_point:
        raise OptionError(f"to({target}); wanted a dtype of real floating-point numbers, or a device")
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        whole = isinstance(value, Tensor) and not value.is_floating_point() and isinstance(target, torch.dtype)
        if isinstance(value, (Tensor, IrregularSeries)) and not whole:
            changed[field.name] = value.to(target)
    return dataclasses.replace(record, **changed)


def _part(record: R, part: slice, split: str) -> R:
    changed: dict[str, Any] = {"split": split}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if isinstance(value, IrregularSeries):
            assert value.mask is not None and value.lengths is not None
            parts = (value.times, value.values, value.mask, value.lengths)
            changed[field.name] = IrregularSeries(*(x[part] for x in parts))
        elif isinstance(value, Tensor) and field.name != "times":  # times are shared by all rows
            changed[field.name] = value[part]
    return dataclasses.replace(record, **changed)
