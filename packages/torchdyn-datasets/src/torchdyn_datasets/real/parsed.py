"""Arrays that were read from files for which nobody has published a checksum: what is checked is what was read.

A checksum of arrays does not depend on how they were packed. So a set that is known from a copy recognises its public
original, and a set that nobody here has seen takes the word of its user.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from torchdyn_core import OptionError
from torchdyn_datasets.errors import ChecksumError, FormatError
from torchdyn_datasets.fetch import LARGEST, opened

__all__ = ["check_arrays", "checked_sha256", "digest", "stored_arrays"]


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A checksum of named arrays, however they lie in memory or in files."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def checked_sha256(given: str | None) -> str | None:
    """A checksum that a user gives, in small letters.

    Raises:
        OptionError: If it is none.
    """
    if given is None:
        return None
    if not isinstance(given, str) or not re.fullmatch("[0-9a-f]{64}", given.lower()):
        raise OptionError(f"sha256={given!r}; wanted 64 hexadecimal digits, or None")
    return given.lower()


def check_arrays(name: str, arrays: Mapping[str, NDArray[Any]], known: str, given: str | None) -> None:
    """Compare what was read with the checksum that a user gives, or the one that is known here.

    Raises:
        ChecksumError: If it is another one.
        OptionError: If there is none to compare with.
    """
    actual, wanted = digest(arrays), given or known
    if not wanted:
        raise OptionError(
            f"{name}: no checksum of it has been published, and none is known here, so nothing tells whether these are "
            f"the data that others have. What was read has the sha256 {actual}; if you trust where it came from, pass "
            f"sha256={actual!r}"
        )
    if actual != wanted:
        raise ChecksumError(f"{name}: what was read has the sha256 {actual}, wanted {wanted}: it is broken or changed")


@contextlib.contextmanager
def stored_arrays(path: Path) -> Iterator[NpzFile]:
    """The arrays of a file of numpy's, gzipped or not, read without pickle.

    Raises:
        FormatError: If it holds none, or more than fits the memory.
    """
    with opened(path) as file:
        content = io.BytesIO(file.read())
    stored = np.load(content, allow_pickle=False)
    if not isinstance(stored, NpzFile):
        raise FormatError(f"{path} holds one array; wanted several with names")
    with stored:
        assert stored.zip is not None
        if sum(member.file_size for member in stored.zip.infolist()) > LARGEST:
            raise FormatError(f"{path} holds arrays of more than {LARGEST} bytes: refused")
        yield stored
