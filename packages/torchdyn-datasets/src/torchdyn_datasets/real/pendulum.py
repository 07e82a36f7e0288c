"""A pendulum that was filmed."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import torch
from torch import Tensor

from torchdyn_datasets.checks import checked_between, checked_choice, checked_dtype
from torchdyn_datasets.errors import FormatError
from torchdyn_datasets.fetch import RemoteFile, fetch, opened, reading
from torchdyn_datasets.records import Trajectories

__all__ = ["real_pendulum"]

_FILE = RemoteFile(
    "schmidt_lipson/invar_datasets.zip",
    (
        "https://raw.githubusercontent.com/Physics-aware-AI/Symplectic-ODENet/"
        "5e83faf93e8f4990e63821c49d0ce5926a96cc94/experiment-real/invar_datasets.zip",
    ),
    ("9794ee02f45403f87b739cc235a046bd424a73b8222067165f66463cef57be59",),
)
_MEMBER = "real_pend_h_1.txt"


def real_pendulum(
    split: str = "train", *, share: float = 0.8, dtype: torch.dtype = torch.float32, progress: bool = True
) -> Trajectories:
    """Angle and angular velocity of a real pendulum, which friction slows down, six times a second.

    Now and then a picture of the film is missing, and the step is longer. A slope is the difference to the next state
    over the time between. The parts are those of the paper: the test is a stretch near the end of the film, and what is
    behind it belongs to the training set again.

    Arguments:
        split: `train`, `test` or `all`.
        share: How much of the film goes before the test.
        dtype: Of times and values.
        progress: Show a progress bar while the file is downloaded.

    Shapes:
        values, slopes: `(1, T, 2)`: 445 times to train on, 110 to test with.

    Raises:
        OptionError: If there is no such split.
        DownloadError: If the file is neither here nor to be had.
        ChecksumError: If it is not what it has to be.

    References:
        Schmidt, Lipson (2009), Distilling free-form natural laws from experimental data. doi:10.1126/science.1165893
        Greydanus, Dzamba, Yosinski (2019), Hamiltonian neural networks. arXiv 1906.01563

    Example:
        >>> from torchdyn_datasets import real_pendulum
        >>> real_pendulum("tset")
        Traceback (most recent call last):
        torchdyn_core.errors.OptionError: split='tset'; did you mean 'test'?
    """
    checked_choice("split", split, ("train", "test", "all"))
    share, dtype = checked_between("share", share, inside=True), checked_dtype(dtype)
    times, states = _measured(progress)
    slopes = states.diff(dim=0) / times.diff()[:, None]
    count = len(slopes)
    first = int(count * share)
    inside = torch.zeros(count, dtype=torch.bool)
    inside[first : first + int(count * (1 - share))] = True
    part = {"train": ~inside, "test": inside, "all": torch.ones_like(inside)}[split]
    return Trajectories(
        "real_pendulum", split, times[:-1][part].to(dtype), states[None, :-1][:, part].to(dtype),
        slopes[None, part].to(dtype), ("angle", "velocity"),
    )  # fmt: skip


def _measured(progress: bool) -> tuple[Tensor, Tensor]:
    path = fetch(_FILE, progress=progress)
    with reading("real_pendulum", {_FILE: path}):
        with opened(path) as content:
            packed = io.BytesIO(content.read())  # it may be gzipped once more
        with zipfile.ZipFile(packed) as archive:
            text = archive.read(_MEMBER).decode("ascii")
        table = np.loadtxt(io.StringIO(text), comments="%", dtype=np.float64, ndmin=2)
        if table.shape[1] != 4:
            raise FormatError(f"{_MEMBER} in {path} has {table.shape[1]} columns; wanted trial, t, angle, velocity")
    values = torch.from_numpy(table)
    return values[:, 1], values[:, 2:]
