"""Arrays that were read from files for which nobody has published a checksum: what is checked is what was read.

A checksum of arrays does not depend on how they were packed. So a set that is known from a copy recognises its public
original, and a set that nobody here has seen takes the word of its user.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchdyn_core import OptionError
from torchdyn_datasets.errors import ChecksumError

__all__ = ["check_arrays", "digest"]


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """A checksum of named arrays, however they lie in memory or in files."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        total.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()


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
