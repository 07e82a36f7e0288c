"""Handwritten digits, from the original IDX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchdyn_datasets.checks import checked_choice
from torchdyn_datasets.errors import FormatError
from torchdyn_datasets.fetch import RemoteFile, fetch, opened, reading
from torchdyn_datasets.records import Images

__all__ = ["mnist", "read_idx"]

_SOURCES = (
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
)


def _file(name: str, *sha256: str) -> RemoteFile:
    return RemoteFile(f"mnist/{name}", tuple(source + name for source in _SOURCES), sha256)


# first the checksum of the file as it is published, then that of its content, however it is packed
_FILES = {
    "train": (
        _file(
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _file(
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
    ),
    "test": (
        _file(
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _file(
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
}


def mnist(split: str = "train", *, progress: bool = True) -> Images:
    """Handwritten digits of 28 x 28 pixels: 60000 to train on, 10000 to test with.

    `data.dataset(0.1307, 0.3081)` gives pictures with mean 0 and standard deviation 1.

    Arguments:
        split: `train` or `test`.
        progress: Show a progress bar while a file is downloaded.

    Shapes:
        images: `(N, 1, 28, 28)`, uint8.  labels: `(N,)`.

    Raises:
        OptionError: If there is no such split.
        DownloadError: If the files are neither here nor to be had.
        ChecksumError: If a file is not what it has to be.

    References:
        LeCun, Bottou, Bengio, Haffner (1998), Gradient-based learning applied to document recognition.
        doi:10.1109/5.726791

    Example:
        >>> from torchdyn_datasets import mnist
        >>> mnist("tset")
        Traceback (most recent call last):
        torchdyn_core.errors.OptionError: split='tset'; did you mean 'test'?
    """
    files = _FILES[checked_choice("split", split, tuple(_FILES))]
    paths = {file: fetch(file, progress=progress) for file in files}
    with reading(f"mnist {split}", paths):
        images, labels = (read_idx(path) for path in paths.values())
    return Images("mnist", split, images[:, None], labels.long())


def read_idx(path: Path) -> Tensor:
    """The bytes of an IDX file, packed or not, in the shape that its header gives.

    Raises:
        FormatError: If it is no such file, or its length is not what its header says.
    """
    with opened(path) as file:
        content = file.read()
    axes = content[3] if len(content) >= 4 else 0
    if content[:3] != b"\x00\x00\x08" or len(content) < 4 * (axes + 1):
        raise FormatError(f"{path} is no IDX file of bytes: it begins with {content[:4]!r}")
    shape = np.frombuffer(content, ">u4", axes, offset=4).tolist()
    values = np.frombuffer(content, np.uint8, offset=4 * (axes + 1))
    if values.size != np.prod(shape, dtype=object):  # Python's whole numbers do not overflow
        raise FormatError(f"{path} holds {values.size} bytes behind its header; wanted {shape}")
    return torch.from_numpy(values.reshape(shape).copy())
