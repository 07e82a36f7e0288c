"""What graphs and layers are made of, looked at before it is used."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor

from torchdyn_core import OptionError, ShapeError

__all__ = ["check_batch", "check_share", "check_size", "check_weight", "checked_edges", "checked_nodes"]


def checked_edges(edge_index: Any) -> Tensor:
    """Sources and targets.

    Raises:
        ShapeError: If they are no `(2, E)` of whole numbers.
    """
    if not isinstance(edge_index, Tensor) or edge_index.dim() != 2 or edge_index.shape[0] != 2:
        got = tuple(edge_index.shape) if isinstance(edge_index, Tensor) else type(edge_index).__name__
        raise ShapeError(f"edge_index is {got}; wanted (2, E): sources and targets")
    if edge_index.dtype != torch.long:
        raise ShapeError(f"edge_index is {edge_index.dtype}; wanted long")
    return edge_index


def checked_nodes(edge_index: Tensor, num_nodes: Any) -> int:
    """How many nodes there are: as many as edges name where nothing is said.

    Raises:
        ShapeError: If an edge has an end that is no node.
    """
    known = edge_index.numel() and not edge_index.is_meta  # on meta there are shapes and no numbers
    low, high = (int(end) for end in edge_index.aminmax()) if known else (0, -1)
    try:
        count = high + 1 if num_nodes is None else operator.index(num_nodes)
    except TypeError:
        count = -1
    if isinstance(num_nodes, bool) or count < 0:
        raise ShapeError(f"num_nodes={num_nodes!r}; wanted a whole number >= 0")
    if low < 0 or high >= count:
        raise ShapeError(f"edges have ends from {low} to {high}; there are {count} nodes")
    return count


def check_weight(edge_weight: Tensor | None, edge_index: Tensor) -> None:
    """Raise `ShapeError` unless there is a floating-point number for each edge, where edges lie."""
    if edge_weight is None:
        return
    if edge_weight.shape != edge_index.shape[1:] or not edge_weight.dtype.is_floating_point:
        raise ShapeError(
            f"edge_weight {tuple(edge_weight.shape)} {edge_weight.dtype}; wanted ({edge_index.shape[1]},) of "
            "floating-point numbers, one for each edge"
        )
    if edge_weight.device != edge_index.device:
        raise ShapeError(
            f"edge_weight is on {edge_weight.device}, edge_index on {edge_index.device}; wanted one device"
        )


def check_batch(batch: Tensor | None, edge_index: Tensor, nodes: int) -> None:
    """Raise `ShapeError` unless there is an id for each node, from 0, where edges lie."""
    if batch is None:
        return
    if batch.shape != (nodes,) or batch.dtype != torch.long or batch.device != edge_index.device:
        raise ShapeError(
            f"batch {tuple(batch.shape)} {batch.dtype} on {batch.device}; wanted ({nodes},) long on {edge_index.device}"
        )
    if batch.numel() and not batch.is_meta and int(batch.min()) < 0:
        raise ShapeError(f"batch has ids from {int(batch.min())}; wanted ids from 0")


def check_size(**sizes: Any) -> None:
    """Raise `OptionError` unless each is a whole number of at least 1."""
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OptionError(f"{name}={value!r}; wanted a whole number >= 1")


def check_share(**shares: Any) -> None:
    """Raise `OptionError` unless each is in [0, 1)."""
    for name, value in shares.items():
        if not 0.0 <= value < 1.0:
            raise OptionError(f"{name}={value!r}; wanted a probability in [0, 1)")
