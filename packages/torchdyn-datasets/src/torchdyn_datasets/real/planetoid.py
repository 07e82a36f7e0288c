"""Citation graphs: papers, their words, and who cites whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchdyn_datasets.array_pickle import MOST_NUMBERS, SparseRows, load_arrays
from torchdyn_datasets.checks import checked_choice
from torchdyn_datasets.errors import FormatError
from torchdyn_datasets.fetch import RemoteFile, fetch, find_local, opened, reading
from torchdyn_datasets.real.parsed import check_arrays, checked_sha256, stored_arrays
from torchdyn_datasets.records import Graph

__all__ = ["cora", "planetoid"]

_SOURCE = "https://raw.githubusercontent.com/kimiyoung/planetoid/master/data/"
_PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")
_NAMES = ("cora", "citeseer", "pubmed")
_VALIDATED = 500  # as many nodes behind those that are trained on

# more than any of the three has: a few bytes may name a node, or repeat a list of edges, that does not fit the memory
_MOST_NODES = 1 << 24
_MOST_EDGES = 10_000_000

_COPIES = {"cora": ("6577ed82d4c5bd8eeec3f251219e0f15ebbbab09b6ca081e092b0bd9baac974e",)}
"""Checksums of files `name.npz` that hold what the pickles do."""

_PARSED = {"cora": "4aeec7df469c3f8bd008ca680f4ee38b607cec31a54cc1ba3afb861adbb0a005"}
"""Checksums of the arrays, whichever file they were read from."""

Arrays = dict[str, NDArray[Any]]


def planetoid(
    name: str = "cora", *, normalise: bool = False, sha256: str | None = None, progress: bool = True
) -> Graph:
    """A citation graph with the split that most papers use: 20 nodes of each class, the next 500, 1000 to test with.

    The public originals are pickles, for which no checksum was ever published. They are read without running anything
    that they say, and what was read is compared with a checksum of the arrays. That of Cora is known here. For the
    others pass one: the error that comes without it gives that of what was read, to be trusted as much as its source.

    Arguments:
        name: `cora`, `citeseer` or `pubmed`.
        normalise: Scale the features of each node to a sum of 1, as graph convolutions are usually given them.
        sha256: Of the arrays that are to be read. Default: what is known here.
        progress: Show a progress bar while files are downloaded.

    Shapes:
        features: `(N, F)`.  edge_index: `(2, E)`, both directions, no loops, no edge twice.  labels: `(N,)`.

    Raises:
        OptionError: If there is no such graph, or no checksum to compare with.
        DownloadError: If the files are neither here nor to be had.
        ChecksumError: If what was read is not what it has to be.
        FormatError: If a file names anything but arrays, or they make no graph.

    References:
        Yang, Cohen, Salakhutdinov (2016), Revisiting semi-supervised learning with graph embeddings. arXiv 1603.08861

    Example:
        >>> from torchdyn_datasets import planetoid
        >>> planetoid("coral")
        Traceback (most recent call last):
        torchdyn_core.errors.OptionError: name='coral'; did you mean 'cora'?
    """
    checked_choice("name", name, _NAMES)
    arrays = _read(name, checked_sha256(sha256), progress)
    features = torch.from_numpy(arrays["features"])
    if normalise:
        features = features / features.sum(1, keepdim=True).clamp(min=1e-12)
    edges, labels, train, validation, test = (
        torch.from_numpy(arrays[part]) for part in ("edge_index", "labels", "train", "validation", "test")
    )
    return Graph(name, "public", features, edges, labels, train, validation, test)


def cora(*, normalise: bool = False, progress: bool = True) -> Graph:
    """Cora: 2708 papers on machine learning in seven classes, told by 1433 words.

    Arguments:
        normalise: Scale the features of each node to a sum of 1, as graph convolutions are usually given them.
        progress: Show a progress bar while files are downloaded.

    Shapes:
        features: `(2708, 1433)`.  edge_index: `(2, 10556)`.  labels: `(2708,)`.

    Raises:
        DownloadError: If the files are neither here nor to be had.
        ChecksumError: If what was read is not what it has to be.

    References:
        Yang, Cohen, Salakhutdinov (2016), Revisiting semi-supervised learning with graph embeddings. arXiv 1603.08861

    Example:
        >>> from torchdyn_datasets import cora, planetoid
        >>> cora.__doc__ != planetoid.__doc__
        True
    """
    return planetoid("cora", normalise=normalise, progress=progress)


def _read(name: str, sha256: str | None, progress: bool) -> Arrays:
    """The arrays of a copy that is at hand, or of the eight public files."""
    copy = RemoteFile(f"planetoid/{name}.npz", (), _COPIES.get(name, ()))
    known = _PARSED.get(name, "")
    if find_local(copy) is not None:
        path = fetch(copy)
        with reading(f"planetoid {name}", {copy: path}):
            arrays = _from_copy(path)
            check_arrays(f"planetoid {name}", arrays, known, sha256)
        return arrays
    files = [
        RemoteFile(f"planetoid/ind.{name}.{part}", (f"{_SOURCE}ind.{name}.{part}",), (), copy.path) for part in _PARTS
    ]
    paths = {file: fetch(file, progress=progress) for file in files}
    with reading(f"planetoid {name}", paths):
        parts: dict[str, Any] = {}
        for part, path in zip(_PARTS, paths.values(), strict=True):
            with opened(path) as content:
                parts[part] = content.read() if part == "test.index" else load_arrays(content, str(path))
        arrays = assembled(parts)
        check_arrays(f"planetoid {name}", arrays, known, sha256)
    return arrays


def _from_copy(path: Path) -> Arrays:
    """The arrays of a file that numpy reads without pickle."""
    with stored_arrays(path) as stored:
        rows = SparseRows()
        rows.fill(stored["x_data"], stored["x_indices"], stored["x_indptr"], tuple(stored["x_shape"].tolist()))
        names = {"train": "train_idx", "validation": "val_idx", "test": "test_idx"}
        arrays = {name: stored[names.get(name, name)] for name in ("edge_index", "labels", *names)}
    return {"features": rows.dense(), **{name: array.astype(np.int64) for name, array in arrays.items()}}


def assembled(parts: Mapping[str, Any]) -> Arrays:
    """The graph that the parts of the public files make.

    Nodes to be tested stand in the order of `test.index`; numbers that are missing there (in Citeseer) are nodes
    without features and class.

    Raises:
        FormatError: If the parts do not fit each other, or the graph is larger than any that there is.
    """
    kinds = {"allx": SparseRows, "tx": SparseRows, "graph": dict} | dict.fromkeys(("y", "ty", "ally"), np.ndarray)
    for part, kind in kinds.items():
        if not isinstance(parts[part], kind):
            raise FormatError(f"{part} holds {type(parts[part]).__name__}; wanted {kind.__name__}")
    order = np.array(parts["test.index"].split(), dtype=np.int64)
    known, tested = parts["allx"], parts["tx"]
    first, count = known.shape[0], max(known.shape[0], int(order.max()) + 1)
    if order.min() < first or len(order) != tested.shape[0] or len(np.unique(order)) != len(order):
        raise FormatError("the nodes to be tested do not stand behind all others, each of them once")
    width = max(known.shape[1], parts["ally"].shape[1])
    if count > _MOST_NODES or count * width > MOST_NUMBERS:
        raise FormatError(f"the graph has {count} nodes with {width} features or classes: refused, none is so large")
    features = np.zeros((count, known.shape[1]), dtype=np.float32)
    features[:first], features[order] = known.dense(), tested.dense()
    classes = np.zeros((count, parts["ally"].shape[1]), dtype=np.float64)
    classes[:first], classes[order] = parts["ally"], parts["ty"]
    trained = len(parts["y"])
    return {
        "features": features,
        "labels": np.where(classes.sum(1) > 0, classes.argmax(1), -1).astype(np.int64),
        "edge_index": _edges(parts["graph"], count),
        "train": np.arange(trained),
        "validation": np.arange(trained, trained + _VALIDATED),
        "test": np.sort(order),
    }


def _edges(graph: Mapping[Any, Any], count: int) -> NDArray[np.int64]:
    """Both directions of each edge, no loops, no edge twice."""
    lengths = np.array([len(others) for others in graph.values()], dtype=np.int64)
    total = sum(lengths.tolist())
    if total > _MOST_EDGES:
        raise FormatError(f"the graph has {total} edges: refused, it cannot be so large")
    sources = np.repeat(np.fromiter(graph, np.int64, len(graph)), lengths)
    targets = np.fromiter((other for others in graph.values() for other in others), np.int64, total)
    ends = np.stack((sources, targets), 1)[sources != targets]
    if ends.min() < 0 or ends.max() >= count:
        raise FormatError("an edge has an end that is no node")
    return np.ascontiguousarray(np.unique(np.concatenate((ends, ends[:, ::-1])), axis=0).T)
