"""Reads arrays out of a pickle without running anything that the pickle says.

Some public data are pickles, and a pickle is a program. This reader knows a handful of names (numpy's array, dtype and
scalar, scipy's CSR matrix, dict of lists) and refuses every other one. Not even those are called: stand-ins note down
what the pickle says of an array, and the array is then made here, of plain numbers only. Nor does a small pickle take
much time or memory: what it has made again and again is counted, and what stands in many places is walked through once.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from torchdyn_datasets.errors import FormatError

__all__ = ["MOST_NUMBERS", "SparseRows", "load_arrays"]

MOST_NUMBERS = 1 << 27
"""So many numbers no matrix here has, zeros included: a few bytes may describe far more than fits the memory."""

_MOST_BYTES = 1 << 28  # of what one pickle makes of what it says once

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
            rows, columns = state["_shape" if "_shape" in state else "shape"]
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"has a sparse matrix that is described wrongly: {error}") from error
        self.fill(parts[0], parts[1], parts[2], (_whole(rows), _whole(columns)))

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
        """All of the matrix, zeros included, in single precision.

        Raises:
            FormatError: If these are more than `MOST_NUMBERS`.
        """
        if self.shape[0] * self.shape[1] > MOST_NUMBERS:
            raise FormatError(
                f"a sparse matrix of shape {self.shape} is refused; wanted {MOST_NUMBERS} entries at most"
            )
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
        if not isinstance(self.spec, str) or len(self.spec) > 32:
            raise FormatError("has a dtype that is described wrongly")
        try:
            made = np.dtype(self.spec)
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
        if not isinstance(shape, tuple) or len(shape) > 32 or not isinstance(dtype, _DType):
            raise FormatError("has an array that is described wrongly")
        flat = np.frombuffer(_bytes(data), dtype=dtype.make())
        self.made = flat.reshape([_whole(size) for size in shape], order="F" if fortran else "C").copy()


class _Reconstruct:
    """Stands in for numpy's and Python's own functions that make an empty object, to be filled in afterwards."""

    __slots__ = ()

    def __call__(self, kind: object, base: object = None, state: object = None) -> Any:
        if kind is _Array or kind is SparseRows:
            return kind()
        raise FormatError("makes an object of what is no type of arrays: refused")


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


class _Empty:
    """Stands in for a type that only something empty is made of; a dict that makes lists needs to make none here."""

    __slots__ = ("_argument", "_kind")

    def __init__(self, kind: type, argument: _Empty | None = None) -> None:
        self._kind, self._argument = kind, argument

    def __call__(self, *arguments: object) -> Any:
        if arguments and (len(arguments) > 1 or self._argument is None or arguments[0] is not self._argument):
            raise FormatError(f"makes a {self._kind.__name__} of something: refused")
        return self._kind()

    def __setstate__(self, state: object) -> None:
        raise FormatError(f"changes what a {self._kind.__name__} is: refused")


_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_SCIPY = ("scipy.sparse.csr", "scipy.sparse._csr")
_BUILTINS = ("__builtin__", "builtins")
_LIST, _BYTES = _Empty(list), _Empty(bytes)

# nothing of these can be changed by a pickle: they are built in, have no attributes, or take a state of their own
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("collections", "defaultdict"): _Empty(dict, _LIST),
    ("_codecs", "encode"): _Encode(),
    **{(module, "_reconstruct"): _Reconstruct() for module in _NUMPY},
    **{(module, "scalar"): _Scalar() for module in _NUMPY},
    **{(module, "csr_matrix"): SparseRows for module in _SCIPY},
    **{(module, "_reconstructor"): _Reconstruct() for module in ("copy_reg", "copyreg")},
    **{(module, "list"): _LIST for module in _BUILTINS},
    **{(module, "bytes"): _BYTES for module in _BUILTINS},
    **{(module, "object"): object for module in _BUILTINS},
}

_Operation = Callable[[Any], None]  # of a reader


class _Reader(pickle._Unpickler):
    """Python's own unpickler: the one in C reserves as much memory for its notes as a broken file tells it to."""

    made = 0
    """How many bytes were made of what the pickle says: it says them once, and may have them made many times."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise FormatError(f"names {f'{module}.{name}'!r}, which is no type of arrays: refused") from None

    def get_extension(self, code: int) -> None:
        raise FormatError(f"has the extension code {code}, which is no type of arrays: refused")


def _refused(name: str) -> _Operation:
    def refuse(reader: Any) -> None:
        raise FormatError(f"has the operation {name}, which no array needs: refused")

    return refuse


def _counted(operation: _Operation) -> _Operation:
    """An operation whose results count as made."""

    def count(reader: Any) -> None:
        operation(reader)
        reader.made += _size(reader.stack[-1])
        if reader.made > _MOST_BYTES:
            raise FormatError(f"makes arrays of more than {_MOST_BYTES} bytes: refused")

    return count


def _size(made: object) -> int:
    if isinstance(made, _Array) and hasattr(made, "made"):
        return made.made.nbytes
    if isinstance(made, SparseRows) and hasattr(made, "shape"):
        return made.data.nbytes + made.indices.nbytes + made.indptr.nbytes  # all of which was looked through
    return len(made) if isinstance(made, bytes) else 0


def _keyed(operation: _Operation, keys: slice) -> _Operation:
    """An operation that looks keys up: a number or a word, not a tuple, which may hold itself over and over."""

    def check(reader: Any) -> None:
        for key in reader.stack[keys]:
            if not isinstance(key, (bool, int, float, str, bytes, np.generic)):
                raise FormatError(f"has a key that is a {type(key).__name__}: refused; wanted a number or a word")
        operation(reader)

    return check


_REFUSED = (
    # classes that other parts of a program have registered by number, and may have looked up already
    "EXT1", "EXT2", "EXT4",
    # these reserve what they announce, or want what lies outside of the file
    "BYTEARRAY8", "NEXT_BUFFER", "READONLY_BUFFER", "PERSID", "BINPERSID",
    # these make objects, or sets of them
    "INST", "OBJ", "EMPTY_SET", "ADDITEMS", "FROZENSET",
)  # fmt: skip
_COUNTED = ("REDUCE", "BUILD")
_KEYED = {"DICT": slice(0, None, 2), "SETITEMS": slice(0, None, 2), "SETITEM": slice(-2, -1)}


def _operations() -> dict[int, _Operation]:
    """Python's operations by their codes, those changed that a pickle could do harm with."""
    known: dict[int, _Operation] = dict(pickle._Unpickler.dispatch)
    codes: dict[str, int] = {name: getattr(pickle, name)[0] for name in (*_REFUSED, *_COUNTED, *_KEYED)}
    known |= {codes[name]: _refused(name) for name in _REFUSED}
    known |= {codes[name]: _counted(known[codes[name]]) for name in _COUNTED}
    return known | {codes[name]: _keyed(known[codes[name]], keys) for name, keys in _KEYED.items()}


_Reader.dispatch = _operations()


def load_arrays(file: IO[bytes], name: str) -> Any:
    """What a pickle of arrays holds: an array, a `SparseRows`, or dicts, lists and numbers of them.

    Arguments:
        file: The pickle, of Python 2 or 3, in a protocol up to 4.
        name: What to call it in an error.

    Raises:
        FormatError: If it names anything but types of arrays, is broken, or describes more than fits the memory.

    Example:
        >>> import io, pickle
        >>> from torchdyn_datasets.array_pickle import load_arrays
        >>> load_arrays(io.BytesIO(pickle.dumps({0: [1, 2]})), "graph.pkl")
        {0: [1, 2]}
    """
    try:
        return _finished(_Reader(io.BytesIO(file.read()), encoding="latin1").load(), {})
    except FormatError as error:
        raise FormatError(f"{name} {error}") from error
    except Exception as error:  # a broken pickle fails in as many ways as there are operations
        raise FormatError(f"{name} is no pickle that can be read: {type(error).__name__}: {error}") from error


def _finished(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """The value with arrays in place of their stand-ins; anything that was left half made is refused.

    What stands in several places is walked through once: doubled at each of thirty levels, it would stand a thousand
    million times in the whole. `done` keeps what it was called with, so that no other object takes its number.
    """
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        return value
    if id(value) not in done:
        done[id(value)] = value, _unfinished
        done[id(value)] = value, _finish(value, done)
    found = done[id(value)][1]
    if found is _unfinished:
        raise FormatError(f"holds a {type(value).__name__} that holds itself: refused")
    return found


_unfinished = object()


def _finish(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    if isinstance(value, _Array):
        return _array(value)
    if isinstance(value, SparseRows):
        if not hasattr(value, "shape"):
            raise FormatError("holds a sparse matrix that is described nowhere")
        return value
    if isinstance(value, dict):
        return {key: _finished(part, done) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_finished(part, done) for part in value)
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
        raise FormatError(f"has an array whose size is a {type(size).__name__}, or is below 0; wanted a whole number")
    return number
