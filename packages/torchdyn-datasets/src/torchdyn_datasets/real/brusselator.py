"""The noisy Brusselator as it was published."""

from __future__ import annotations

import io

import numpy as np
import torch

from torchdyn_core import IrregularSeries
from torchdyn_datasets.checks import checked_dtype
from torchdyn_datasets.errors import FormatError
from torchdyn_datasets.fetch import RemoteFile, fetch, opened, reading
from torchdyn_datasets.records import Series

__all__ = ["brusselator"]

_FILE = RemoteFile(
    "brusselator/BXLator.csv",
    (
        "https://raw.githubusercontent.com/edebrouwer/gru_ode_bayes/19b236fff0caa8469fbb93054bda488568bdaaff/"
        "gru_ode_bayes/datasets/BXLator/BXLator.csv",
    ),
    ("1dc8019125361e6b540c7ac79acd708f48d6ef3011d0b988b357e8004731ab57",),
)
_HEADER = "ID,Time,Value_1,Value_2,Mask_1,Mask_2,Cov"


def brusselator(*, dtype: torch.dtype = torch.float32, progress: bool = True) -> Series:
    r"""A chemical oscillator with noise, observed now and then: 1000 series of 20 to 29 observations on `[0, 50]`.

    `stochastic_brusselator` simulates others of this kind.

    Arguments:
        dtype: Of times and values.
        progress: Show a progress bar while the file is downloaded.

    Shapes:
        series: `(1000, 29, 2)`.

    Raises:
        DownloadError: If the file is neither here nor to be had.
        ChecksumError: If it is not what it has to be.

    References:
        De Brouwer, Simm, Arany, Moreau (2019), GRU-ODE-Bayes. arXiv 1905.12374

    Example:
        >>> from torchdyn_datasets.real.brusselator import parse
        >>> rows = "ID,Time,Value_1,Value_2,Mask_1,Mask_2,Cov\n0,0.5,1,0,1,0,0\n0,0.1,1,2,1,1,0\n"
        >>> parse(rows).times.tolist()
        [[0.1, 0.5]]
    """
    checked_dtype(dtype)
    path = fetch(_FILE, progress=progress)
    with reading("brusselator", {_FILE: path}), opened(path) as content:
        series = parse(content.read().decode("ascii"))
    return Series("brusselator", "all", series.to(dtype), channels=("x", "y"))


def parse(text: str) -> IrregularSeries:
    """The series of a table; the rows of each are put in the order of time.

    Raises:
        FormatError: If the table has other columns.
    """
    header, _, rows = text.partition("\n")
    if header.strip() != _HEADER:
        raise FormatError(f"the table begins with {header.strip()!r}; wanted {_HEADER!r}")
    table = np.loadtxt(io.StringIO(rows), delimiter=",", dtype=np.float64, ndmin=2)
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    values = torch.from_numpy(table)
    counts = values[:, 0].long().bincount()
    return IrregularSeries.collate(
        (part[:, 1], part[:, 2:4], part[:, 4:6] == 1) for part in values.split(counts[counts > 0].tolist())
    )
