"""Sequences of events whose intensities are known."""

from __future__ import annotations

import torch

from torchdyn_core import IrregularSeries
from torchdyn_datasets.checks import checked_choice, checked_dtype
from torchdyn_datasets.errors import FormatError
from torchdyn_datasets.fetch import RemoteFile, fetch, opened, reading
from torchdyn_datasets.records import Series

__all__ = ["point_processes"]

_SOURCE = "https://raw.githubusercontent.com/000Justin000/torchdiffeq/jj585/examples/data/point_processes/"
_SPLITS = {"train": "training", "validation": "validation", "test": "testing"}
_SHA256 = {
    "poisson_training": "268e87693f8d709033c5330cda196e0ba62724a0af3fdf00c6f3b0c4fafb7666",
    "poisson_validation": "41a8840ac174716a74012d1b83a9b23d99127c8b3d700696b2ce39e3dc7d2555",
    "poisson_testing": "5ceef4b1faace354c3c97588ca9fd3229cfb42e66c669bc5234d26aeca61f635",
    "exponential_hawkes_training": "08dbe0cfc2cf447a0bef997b732063238291bd40ae556e13ea0373cb9d3bbfca",
    "exponential_hawkes_validation": "bdd35ef2d32318ac83b3d8bfed991f3c5c5b981957ada61e8eab6f1173d59ff7",
    "exponential_hawkes_testing": "c7b1bad44d37acd76c67013e7811bdb8a6f0e142e3251cf14a8b28199e2e9ae3",
    "powerlaw_hawkes_training": "b40237c62c0c68c32dd9090731df305c038ef59c531c6c42095f24786f4afdde",
    "powerlaw_hawkes_validation": "f8831b839141c0a2b2565f70392f212685efa5d39f0cf92bb5f961b64025022f",
    "powerlaw_hawkes_testing": "cb8763943f70c5556fa2d18ad36e15297757b2d0abbb4ecc0cba351197214439",
}
_PROCESSES = ("poisson", "exponential_hawkes", "powerlaw_hawkes")


def point_processes(
    process: str = "exponential_hawkes",
    split: str = "train",
    *,
    dtype: torch.dtype = torch.float32,
    progress: bool = True,
) -> Series:
    r"""Times of events on `[0, 100]`: 300 sequences to train on, 100 to validate and 100 to test with.

    The intensities at t, given the events t_i before: `poisson` 1; `exponential_hawkes`
    0.2 + 0.8 sum exp(-(t - t_i)); `powerlaw_hawkes` 0.2 + 1.6 sum (t - t_i)^-3 over the events more than 1 ago.

    Arguments:
        process: `poisson`, `exponential_hawkes` or `powerlaw_hawkes`.
        split: `train`, `validation` or `test`.
        dtype: Of times and values.
        progress: Show a progress bar while the file is downloaded.

    Shapes:
        series: `(N, L, 1)`; every value is 1, for one event.

    Raises:
        OptionError: If there is no such process or split.
        DownloadError: If the file is neither here nor to be had.
        ChecksumError: If it is not what it has to be.

    References:
        Jia, Benson (2019), Neural jump stochastic differential equations. arXiv 1905.10403

    Example:
        >>> from torchdyn_datasets.real.point_processes import parse
        >>> parse(" 0.5 1.25;\n 3.0;\n").lengths.tolist()
        [2, 1]
    """
    checked_choice("process", process, _PROCESSES)
    checked_dtype(dtype)
    name = f"{process}_{_SPLITS[checked_choice('split', split, tuple(_SPLITS))]}"
    file = RemoteFile(f"point_processes/{name}.csv", (f"{_SOURCE}{name}.csv",), (_SHA256[name],))
    path = fetch(file, progress=progress)
    with reading(name, {file: path}), opened(path) as content:
        series = parse(content.read().decode("ascii"))
    return Series(f"point_processes {process}", split, series.to(dtype), channels=("event",))


def parse(text: str) -> IrregularSeries:
    """Sequences out of lines of times that end in a semicolon.

    Raises:
        FormatError: If a line holds something else.
    """
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            times = [float(word) for word in line.strip().removesuffix(";").split()]
        except ValueError as error:
            raise FormatError(f"line {number} holds something that is no time: {error}") from error
        rows.append((torch.tensor(times, dtype=torch.float64), torch.ones(len(times), 1, dtype=torch.float64)))
    return IrregularSeries.collate(rows)
