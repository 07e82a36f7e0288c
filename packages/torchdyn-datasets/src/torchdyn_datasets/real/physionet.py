"""Two days of intensive care: the PhysioNet/CinC challenge of 2012."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from torchdyn_core import IrregularSeries, OptionError
from torchdyn_datasets.checks import checked_choice, checked_count, checked_dtype, checked_number
from torchdyn_datasets.real.icu_files import PARAMETERS, Arrays, read_part
from torchdyn_datasets.real.parsed import checked_sha256
from torchdyn_datasets.records import Series

__all__ = ["physionet2012"]

_DIED = 4  # the outcome, of the five, that is predicted
_FINEST = 1 / 3600


def physionet2012(
    part: str = "a",
    *,
    quantization: float | None = 0.016,
    scale: bool = True,
    n: int | None = None,
    sha256: str | None = None,
    dtype: torch.dtype = torch.float32,
    progress: bool = True,
) -> Series:
    """Vital signs and laboratory values of 4000 patients in their first 48 hours of intensive care.

    Prepared as for the latent ODE: times rounded to multiples of `quantization`; of values of one parameter that fall
    together, the mean; the five descriptors (age, gender, height, type of unit, weight at admission) are parameters
    that are observed at time 0, and -1 where they are not known, as in the files. What is predicted is who died.

    No checksum of the public archives has been published. What was read from one is compared with that of the arrays,
    which is known here for the parts a and c. For part b pass one: the error that comes without it gives that of what
    was read, to be trusted as much as its source.

    Arguments:
        part: `a`, `b` or `c`, 4000 patients each. Of c no outcomes are read.
        quantization: In hours, a second or more. None: to the minute, as it was recorded.
        scale: Scale each parameter to `[0, 1]` by the smallest and the largest value in the whole part.
        n: How many patients, the first ones. Default: all.
        sha256: Of the arrays that are to be read. Default: what is known here.
        dtype: Of times and values.
        progress: Show a progress bar while files are downloaded.

    Shapes:
        series: `(n, L, 41)`, times in hours.  labels: `(n,)`: 1 died, 0 survived, -1 not known.

    Raises:
        OptionError: If there is no such part, no checksum to compare with, or the quantization is too fine.
        DownloadError: If the files are neither here nor to be had.
        ChecksumError: If what was read is not what it has to be.
        FormatError: If a file holds no patients, or a row of theirs that is not of these 48 hours.

    References:
        Silva, Moody, Scott, Celi, Mark (2012), Predicting in-hospital mortality of ICU patients. Computing in
        Cardiology 39, 245.
        Rubanova, Chen, Duvenaud (2019), Latent ODEs for irregularly-sampled time series. arXiv 1907.03907

    Example:
        >>> from torchdyn_datasets import physionet2012
        >>> physionet2012("d")
        Traceback (most recent call last):
        torchdyn_core.errors.OptionError: part='d'; there are: a, b, c
    """
    checked_choice("part", part, ("a", "b", "c"))
    checked_dtype(dtype)
    step = 1 / 60 if quantization is None else checked_number("quantization", quantization, positive=True)
    if step < _FINEST:
        raise OptionError(f"quantization={quantization!r}; wanted a second, {_FINEST:.6f}, or more")
    arrays = read_part(part, checked_sha256(sha256), progress)
    count = len(arrays["record_id"]) if n is None else min(checked_count("n", n), len(arrays["record_id"]))
    values = arrays["value"].astype(np.float64)
    if scale:
        values = _scaled(values, arrays["param"])
    series = _series(arrays, values, count, step, dtype)
    labels = torch.full((count,), -1)
    if "outcomes" in arrays:
        labels = torch.from_numpy(arrays["outcomes"][:count, _DIED].astype(np.int64))
    return Series("physionet2012", f"set-{part}", series, labels, PARAMETERS, "h")


def _scaled(values: NDArray[np.float64], parameters: NDArray[np.uint8]) -> NDArray[np.float64]:
    low = np.full(len(PARAMETERS), np.inf)
    high = np.full(len(PARAMETERS), -np.inf)
    np.minimum.at(low, parameters, values)
    np.maximum.at(high, parameters, values)
    span = np.where(high > low, high - low, 1.0)
    scaled: NDArray[np.float64] = (values - low[parameters]) / span[parameters]
    return scaled


def _series(
    arrays: Arrays, values: NDArray[np.float64], count: int, step: float, dtype: torch.dtype
) -> IrregularSeries:
    """Means of what falls into one interval of time, a row for each interval in which anything was observed."""
    offset = arrays["offset"][: count + 1]
    end = int(offset[-1])
    patient = np.repeat(np.arange(count), np.diff(offset))
    interval = np.rint(arrays["minute"][:end] / 60 / step).astype(np.int64)
    width = int(interval.max(initial=0)) + 1
    # every patient has a row at time 0, as with the latent ODE, even who was seen later only
    keys = np.concatenate((patient * width + interval, np.arange(count) * width))
    distinct, place = np.unique(keys, return_inverse=True)
    rows, place = np.stack(np.divmod(distinct, width), 1), place[:end]
    lengths = np.bincount(rows[:, 0], minlength=count)
    column = np.arange(len(rows)) - np.repeat(lengths.cumsum() - lengths, lengths)  # of a row within its patient
    shape = (count, int(lengths.max()), len(PARAMETERS))
    cell = np.ravel_multi_index((rows[place, 0], column[place], arrays["param"][:end].astype(np.int64)), shape)
    seen = np.bincount(cell, minlength=int(np.prod(shape)))
    means = np.bincount(cell, weights=values[:end], minlength=len(seen)).astype(np.float64)
    np.divide(means, seen, out=means, where=seen > 1)
    times = np.zeros(shape[:2])
    times[rows[:, 0], column] = rows[:, 1] * step
    times = np.maximum.accumulate(times, axis=1)  # behind its end a series stands still
    return IrregularSeries(
        torch.from_numpy(times).to(dtype),
        torch.from_numpy(means).to(dtype).reshape(shape),
        torch.from_numpy(seen > 0).reshape(shape),
        torch.from_numpy(lengths),
    )
