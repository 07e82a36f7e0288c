"""The files of the PhysioNet/CinC challenge of 2012: one of arrays, or the public archive of one text a patient."""

from __future__ import annotations

import csv
import gzip
import re
import tarfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from torchdyn_datasets.errors import FormatError
from torchdyn_datasets.fetch import RemoteFile, fetch, find_local, opened, reading
from torchdyn_datasets.real.parsed import check_arrays, stored_arrays

__all__ = ["PARAMETERS", "Arrays", "read_part"]

PARAMETERS = (
    "Age", "Gender", "Height", "ICUType", "Weight", "Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol",
    "Creatinine", "DiasABP", "FiO2", "GCS", "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent",
    "Na", "NIDiasABP", "NIMAP", "NISysABP", "PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2", "SysABP", "Temp",
    "TroponinI", "TroponinT", "Urine", "WBC",
)  # fmt: skip
"""What is measured, the descriptors first, in the latent ODE's order."""

Arrays = dict[str, NDArray[Any]]

_SOURCE = "https://physionet.org/files/challenge-2012/1.0.0/"
_OUTCOMES = ("RecordID", "SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death")
_DTYPES = {
    "record_id": np.int32, "offset": np.int64, "minute": np.uint16, "param": np.uint8, "value": np.float32,
    "outcomes": np.int16,
}  # fmt: skip

_LARGEST = 1 << 20
"""So many bytes no patient has: what packs well may be no more than a way to fill the memory."""

_MOST = {"minute": 48 * 60, "param": len(PARAMETERS) - 1}
"""The largest numbers that mean something: the last minute of the two days, the last parameter."""

_COPIES = {
    "a": ("bf698db1dae62073826b626adda1548cf3a06aa7330337d0443b6c69098b52b5",),
    "c": ("f69d8dd4c49e16c349a812f952f73b8b13157c1772f15deb18b4c0541a484837",),
}
"""Checksums of files `set-X.npz` that hold what the archives do."""

_PARSED = {
    "a": "0e4fae213e044f989bd499d177312d430012d271b8d8271471da589119e03a50",
    "c": "d0d56b2b063e4473938680596e83c051da28df2967266352838539fa6288dfe0",
}
"""Checksums of the arrays, whichever file they were read from."""


def read_part(part: str, sha256: str | None, progress: bool) -> Arrays:
    """All that was observed in a part: rows `offset[i]:offset[i + 1]` of minute, param and value are patient i's.

    Raises:
        OptionError: If there is no checksum to compare with.
        DownloadError: If the files are neither here nor to be had.
        ChecksumError: If what was read is not what it has to be.
        FormatError: If a file does not hold what its kind of file holds.
    """
    name = f"physionet2012 {part}"
    copy = RemoteFile(f"physionet2012/set-{part}.npz", (), _COPIES.get(part, ()))
    if find_local(copy) is not None:
        path = fetch(copy)
        with reading(name, {copy: path}):
            arrays = _from_copy(path)
            check_arrays(name, arrays, _PARSED.get(part, ""), sha256)
        return arrays
    names = [f"set-{part}.tar.gz"] + ([] if part == "c" else [f"Outcomes-{part}.txt"])
    files = [RemoteFile(f"physionet2012/{file}", (_SOURCE + file,), (), copy.path) for file in names]
    paths = {file: fetch(file, progress=progress) for file in files}
    with reading(name, paths):
        arrays = _from_archive(paths[files[0]])
        for file in files[1:]:
            with opened(paths[file]) as content:
                arrays["outcomes"] = _outcomes(content, arrays["record_id"])
        check_arrays(name, arrays, _PARSED.get(part, ""), sha256)
    return arrays


def _from_copy(path: Path) -> Arrays:
    with stored_arrays(path) as stored:
        if tuple(stored["param_names"].tolist()) != PARAMETERS:
            raise FormatError(f"{path} names other parameters; wanted {PARAMETERS}")
        arrays = {name: _narrowed(name, stored[name]) for name in _DTYPES if name in stored}
    offset, count = arrays["offset"], len(arrays["record_id"])
    if any(arrays[name].shape != (int(offset[-1]),) for name in ("minute", "param", "value")):
        raise FormatError(f"{path} has not as much of minutes, parameters and values as its offsets say")
    if offset.shape != (count + 1,) or offset[0] != 0 or bool((np.diff(offset) < 0).any()):
        raise FormatError(f"{path} has offsets that do not divide its rows among {count} patients")
    if "outcomes" in arrays and arrays["outcomes"].shape != (count, len(_OUTCOMES) - 1):
        raise FormatError(f"{path} has outcomes {arrays['outcomes'].shape}; wanted {(count, len(_OUTCOMES) - 1)}")
    return arrays


def _narrowed(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """An array in the type that its checksum is of, if that holds its numbers."""
    dtype: np.dtype[Any] = np.dtype(_DTYPES[name])
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            narrow: NDArray[Any] = array.astype(dtype)
        if not np.isfinite(narrow).all():
            raise FormatError(f"{name} has numbers that are not finite in {dtype}")
        return narrow
    low, high = np.iinfo(dtype).min, _MOST.get(name, np.iinfo(dtype).max)
    if array.size and not (low <= array.min() and array.max() <= high):
        raise FormatError(f"{name} runs from {array.min()} to {array.max()}; wanted {low} to {high}")
    return array.astype(dtype)


def _from_archive(path: Path) -> Arrays:
    """What the texts of an archive say. Nothing is unpacked to disk."""
    patients: dict[int, tuple[list[int], list[int], list[float]]] = {}
    try:
        # as a stream, so that no more is unpacked than may be: a name alone can be as long as it pleases
        with opened(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                content = archive.extractfile(member) if member.isfile() and name.endswith(".txt") else None
                if content is not None:
                    if member.size > _LARGEST:
                        raise FormatError(f"{name} has {member.size} bytes; wanted a patient, with {_LARGEST} at most")
                    patients[_record(name)] = _patient(content, name)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{path} is no archive of patients: {type(error).__name__}: {error}") from error
    if not patients:
        raise FormatError(f"{path} holds no patient")
    order = sorted(patients)
    columns = list(zip(*(patients[record] for record in order), strict=True))
    minute, param, value = (np.array([number for part in column for number in part]) for column in columns)
    lengths = [len(patients[record][0]) for record in order]
    arrays = {"record_id": np.array(order), "offset": np.cumsum([0, *lengths]), "minute": minute, "param": param}
    return {name: _narrowed(name, array) for name, array in {**arrays, "value": value}.items()}


def _record(name: str) -> int:
    number = name.removesuffix(".txt")
    if not re.fullmatch("[0-9]{1,10}", number):
        raise FormatError(f"{name} is named after no patient")
    return int(number)


def _patient(content: IO[bytes], name: str) -> tuple[list[int], list[int], list[float]]:
    """Minutes, parameters and values of one patient, in the file's order; rows without a parameter say nothing."""
    numbers = {parameter: index for index, parameter in enumerate(PARAMETERS)}
    minutes: list[int] = []
    parameters: list[int] = []
    values: list[float] = []
    for time, parameter, value in _table(content, ("Time", "Parameter", "Value"), name):
        if parameter in ("RecordID", ""):
            continue
        if parameter not in numbers:
            raise FormatError(f"{name} names a parameter {parameter!r}, which the challenge does not have")
        found = re.fullmatch("([0-9]{2}):([0-5][0-9])", time)
        minute = 60 * int(found[1]) + int(found[2]) if found else -1
        if not 0 <= minute <= _MOST["minute"]:
            raise FormatError(f"{name} has a row at {time!r}; wanted 00:00 to 48:00")
        minutes.append(minute)
        parameters.append(numbers[parameter])
        values.append(float(value))
    return minutes, parameters, values


def _outcomes(content: IO[bytes], records: NDArray[np.int32]) -> NDArray[np.int16]:
    """The outcomes of patients, in their order."""
    found = {int(row[0]): [int(word) for word in row[1:]] for row in _table(content, _OUTCOMES, "outcomes")}
    try:
        return _narrowed("outcomes", np.array([found[record] for record in records.tolist()]))
    except KeyError as error:
        raise FormatError(f"there is no outcome of patient {error}") from error


def _table(content: IO[bytes], header: tuple[str, ...], name: str) -> Iterable[list[str]]:
    rows = csv.reader(content.read().decode("ascii").splitlines())
    first = next(rows, None)
    if first is None or tuple(word.strip() for word in first) != header:
        raise FormatError(f"{name} begins with {first}; wanted {','.join(header)}")
    for row in rows:
        if len(row) != len(header):
            raise FormatError(f"{name} has a row {row}; wanted {','.join(header)}")
        yield row
