"""The files of the PhysioNet/CinC challenge of 2012: one of arrays, or the public archive of one text a patient."""

from __future__ import annotations

import csv
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from torchdyn_datasets.errors import ChecksumError, FormatError
from torchdyn_datasets.fetch import RemoteFile, cache_folder, discard, fetch, find_local, opened
from torchdyn_datasets.real.parsed import check_arrays

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
    """
    copy = RemoteFile(f"physionet2012/set-{part}.npz", (), _COPIES.get(part, ()))
    if find_local(copy) is not None:
        arrays = _from_copy(fetch(copy))
        check_arrays(f"physionet2012 {part}", arrays, _PARSED.get(part, ""), sha256)
        return arrays
    names = [f"set-{part}.tar.gz"] + ([] if part == "c" else [f"Outcomes-{part}.txt"])
    files = [RemoteFile(f"physionet2012/{name}", (_SOURCE + name,), (), copy.path) for name in names]
    paths = [fetch(file, progress=progress) for file in files]
    try:
        arrays = _from_archive(paths[0])
        if len(paths) > 1:
            with opened(paths[1]) as content:
                arrays["outcomes"] = _outcomes(content, arrays["record_id"])
        check_arrays(f"physionet2012 {part}", arrays, _PARSED.get(part, ""), sha256)
    except (ChecksumError, FormatError):
        for path in paths:
            if path.is_relative_to(cache_folder()):
                discard(path)
        raise
    return arrays


def _from_copy(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as stored:
            if tuple(stored["param_names"].tolist()) != PARAMETERS:
                raise FormatError(f"{path} names other parameters; wanted {PARAMETERS}")
            return {name: stored[name].astype(dtype) for name, dtype in _DTYPES.items() if name in stored}
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} does not hold a part of the challenge: {error}") from error


def _from_archive(path: Path) -> Arrays:
    """What the texts of an archive say. Nothing is unpacked to disk."""
    patients: dict[int, tuple[list[int], list[int], list[float]]] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = member.name.rpartition("/")[2]
                content = archive.extractfile(member) if member.isfile() and name.endswith(".txt") else None
                if content is not None:
                    if member.size > _LARGEST:
                        raise FormatError(f"{name} has {member.size} bytes; wanted a patient, with {_LARGEST} at most")
                    patients[int(name.removesuffix(".txt"))] = _patient(content, name)
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise FormatError(f"{path} is no archive of patients: {type(error).__name__}: {error}") from error
    if not patients:
        raise FormatError(f"{path} holds no patient")
    order = sorted(patients)
    columns = list(zip(*(patients[record] for record in order), strict=True))
    minute, param, value = (np.concatenate([np.array(part) for part in column]) for column in columns)
    lengths = [len(patients[record][0]) for record in order]
    arrays = {"record_id": np.array(order), "offset": np.cumsum([0, *lengths]), "minute": minute, "param": param}
    return {name: array.astype(_DTYPES[name]) for name, array in {**arrays, "value": value}.items()}


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
        hours, _, rest = time.partition(":")
        minutes.append(60 * int(hours) + int(rest))
        parameters.append(numbers[parameter])
        values.append(float(value))
    return minutes, parameters, values


def _outcomes(content: IO[bytes], records: NDArray[np.int32]) -> NDArray[np.int16]:
    """The outcomes of patients, in their order."""
    found = {int(row[0]): [int(word) for word in row[1:]] for row in _table(content, _OUTCOMES, "outcomes")}
    try:
        return np.array([found[record] for record in records.tolist()], dtype=np.int16)
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
