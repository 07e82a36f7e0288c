"""Reads arrays out of a pickle without running anything that the pickle says.

Some public data are pickles, and a pickle is a program. This reader knows a handful of names (numpy's array, dtype and
scalar, scipy's CSR matrix, dict of lists) and refuses every other one. Not even those are called: stand-ins note down
what the pickle says of an array, and the array is then made here, of plain numbers only.
"""

from __future__ import annotations

import collections
import io
import pickle
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from torchdyn_datasets.errors import FormatError

__all__ = ["SparseRows", "load_arrays"]

_KINDS = "biufc"  # truth values, whole, real and complex numbers: no objects, no records, no text


class SparseRows:
    """A sparse matrix by rows, as a pickle of scipy's describes it.

    Attributes:
        data: What is stored.
        indices: The column of each.
        indptr: Where each row begins in these two; one number more than there are rows.
        shape: Rows and columns.

    Example:
        >>> import io, pickle
        >>> import numpy as np
        >>> from torchdyn_datasets.array_pickle import load_arrays
        >>> load_arrays(io.BytesIO(pickle.dumps(np.arange(3))), "a.pkl")
        array([0, 1, 2])
    """

    __slots__ = ("data", "indices", "indptr", "shape")

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    shape: tuple[int, int]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise FormatError("has a sparse matrix that is described wrongly")
        try:
            parts = [_array(state[name]) for name in ("data", "indices", "indptr")]
            shape = tuple(_whole(size) for size in state["_shape" if "_shape" in state else "shape"])
        except (KeyError, TypeError) as error:
            raise FormatError(f"has a sparse matrix that is described wrongly: {error}") from error
        self.fill(parts[0], parts[1], parts[2], shape)

    def fill(self, data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], shape: tuple[int, ...]) -> None:
        """Take over the parts of a matrix.

        Raises:
            FormatError: If they do not fit each other.
        """
        if len(shape) != 2:
            raise FormatError(f"has a sparse matrix of shape {shape}; wanted rows and columns")
        self.data, self.indices, self.indptr, self.shape = data, indices, indptr, (shape[0], shape[1])
        self._check()

    def _check(self) -> None:
        whole = self.indices.dtype.kind in "iu" and self.indptr.dtype.kind in "iu"
        flat = all(part.ndim == 1 for part in (self.data, self.indices, self.indptr))
        if not (whole and flat and len(self.indptr) == self.shape[0] + 1 and len(self.indices) == len(self.data)):
            raise FormatError("has a sparse matrix whose parts do not fit each other")
        ends = int(self.indptr[0]) == 0 and int(self.indptr[-1]) == len(self.data)
        inside = not len(self.indices) or (self.indices.min() >= 0 and self.indices.max() < self.shape[1])
        if not ends or bool((np.diff(self.indptr.astype(np.int64)) < 0).any()) or not inside:
            raise FormatError("has a sparse matrix with entries outside of itself")

    def dense(self) -> NDArray[np.float32]:
        """All of the matrix, zeros included, in single precision."""
        matrix = np.zeros(self.shape, dtype=np.float32)
        begins = self.indptr.astype(np.int64)
        rows = np.repeat(np.arange(self.shape[0]), begins[1:] - begins[:-1])
        np.add.at(matrix, (rows, self.indices), self.data)  # entries that stand twice count twice
        return matrix


class _DType:
    """What a pickle says of a dtype."""

    __slots__ = ("order", "spec")

    def __init__(self, spec: object, align: object = False, copy: object = False) -> None:
        self.spec, self.order = spec, "<"

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise FormatError("has a dtype that is described wrongly")
        if any(part is not None for part in state[2:5]):
            raise FormatError("has a dtype of several parts: refused; wanted plain numbers")
        self.order = state[1]

    def make(self) -> np.dtype[Any]:
        try:
            made = np.dtype(str(self.spec))
        except TypeError as error:
            raise FormatError(f"names {self.spec!r}, which is no dtype") from error
        if made.kind not in _KINDS:
            raise FormatError(f"has an array of {made}: refused; wanted plain numbers")
        return made.newbyteorder(">") if self.order == ">" else made.newbyteorder("<")


class _Array:
    """What a pickle says of an array."""

    __slots__ = ("made",)

    made: NDArray[Any]

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise FormatError("has an array that is described wrongly")
        _, shape, dtype, fortran, data = state
        if not isinstance(shape, tuple) or not isinstance(dtype, _DType):
            raise FormatError("has an array that is described wrongly")
        flat = np.frombuffer(_bytes(data), dtype=dtype.make())
        self.made = flat.reshape([_whole(size) for size in shape], order="F" if fortran else "C").copy()


class _Reconstruct:
    """Stands in for numpy's and Python's own functions that make an empty object, to be filled in afterwards."""

    __slots__ = ()

    def __call__(self, kind: object, *rest: object) -> Any:
        if kind is _Array or kind is SparseRows:
            return kind()
        raise FormatError(f"makes an object of {kind!r}: refused")


class _Scalar:
    """Stands in for the function that makes one of numpy's numbers."""

    __slots__ = ()

    def __call__(self, dtype: object, data: object = b"") -> Any:
        if not isinstance(dtype, _DType):
            raise FormatError("has a number that is described wrongly")
        (number,) = np.frombuffer(_bytes(data), dtype=dtype.make())
        return number


class _Encode:
    """Stands in for the function that Python 3 brings bytes back with, in the older protocols."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object = "") -> Any:
        if not isinstance(text, str) or encoding != "latin1":
            raise FormatError("has bytes that are described wrongly")
        return text.encode("latin1")


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_SCIPY = ("scipy.sparse.csr", "scipy.sparse._csr")

# nothing of these can be changed by a pickle: they are built in, have no attributes, or take a state of their own
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("collections", "defaultdict"): collections.defaultdict,
    ("_codecs", "encode"): _Encode(),
    **{(module, "_reconstruct"): _Reconstruct() for module in _NUMPY},
    **{(module, "scalar"): _Scalar() for module in _NUMPY},
    **{(module, "csr_matrix"): SparseRows for module in _SCIPY},
    **{(module, "_reconstructor"): _Reconstruct() for module in ("copy_reg", "copyreg")},
    **{(module, kind.__name__): kind for module in ("__builtin__", "builtins") for kind in (list, object)},
}  # fmt: skip


class _Reader(pickle._Unpickler):
    """Python's own unpickler: the one in C reserves as much memory for its notes as a broken file tells it to."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise FormatError(f"names {f'{module}.{name}'!r}, which is no type of arrays: refused") from None


def load_arrays(file: IO[bytes], name: str) -> Any:
    """What a pickle of arrays holds: an array, a `SparseRows`, or dicts, lists and numbers of them.

    Arguments:
        file: The pickle, of Python 2 or 3.
        name: What to call it in an error.

    Raises:
        FormatError: If it names anything but types of arrays, or is broken.

    Example:
        >>> import io, pickle
        >>> from torchdyn_datasets.array_pickle import load_arrays
        >>> load_arrays(io.BytesIO(pickle.dumps({0: [1, 2]})), "graph.pkl")
        {0: [1, 2]}
    """
    try:
        return _finished(_Reader(io.BytesIO(file.read()), encoding="latin1").load())
    except FormatError as error:
        raise FormatError(f"{name} {error}") from error
    except Exception as error:  # a broken pickle fails in as many ways as there are operations
        raise FormatError(f"{name} is no pickle that can be read: {type(error).__name__}: {error}") from error


def _finished(value: Any) -> Any:
    """The value with arrays in place of their stand-ins; anything that was left half made is refused."""
    if isinstance(value, _Array):
        return _array(value)
    if isinstance(value, SparseRows):
        if not hasattr(value, "shape"):
            raise FormatError("holds a sparse matrix that is described nowhere")
        return value
    if isinstance(value, dict):
        return {_finished(key): _finished(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_finished(part) for part in value)
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        return value
    raise FormatError(f"holds {type(value).__name__}, which is no array: refused")


def _array(value: object) -> NDArray[Any]:
    if not isinstance(value, _Array) or not hasattr(value, "made"):
        raise FormatError("holds an array that is described nowhere")
    return value.made


def _bytes(data: object) -> bytes:
    """Bytes as Python 3 writes them, or as the text that Python 2's are read as."""
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes):
        raise FormatError(f"has an array made of {type(data).__name__}: refused; wanted plain numbers")
    return data


def _whole(size: object) -> int:
    number = size.item() if isinstance(size, np.integer) else size
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise FormatError(f"has an array of size {size!r}; wanted a whole number")
    return number
