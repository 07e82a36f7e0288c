"""What can go wrong with data that come from elsewhere; all of it is a `TorchdynError` too."""

from __future__ import annotations

from torchdyn_core import TorchdynError

__all__ = ["ChecksumError", "DownloadError", "FormatError"]


class DownloadError(TorchdynError, OSError):
    """A file could not be brought here, or not be kept; the message names it, its sources, and `TORCHDYN_DATA`.

    Example:
        >>> from torchdyn_datasets.fetch import RemoteFile, fetch
        >>> fetch(RemoteFile("nobody/has.this", urls=(), sha256=("0" * 64,)))
        Traceback (most recent call last):
        torchdyn_datasets.errors.DownloadError: 'nobody/has.this' could not be had: it has no public source...
    """


class ChecksumError(TorchdynError, OSError):
    """A file, or what was read from it, is not what it has to be: broken, cut off or changed by somebody.

    The message gives the expected and the actual checksum, and says what became of the file: in the cache it is
    removed, in the folder that `TORCHDYN_DATA` names it is left alone.

    Example:
        >>> from torchdyn_datasets.errors import ChecksumError
        >>> issubclass(ChecksumError, OSError)
        True
    """


class FormatError(TorchdynError, ValueError):
    """A file does not hold what its kind of file holds, or holds more than is safe to read.

    Like one whose checksum is wrong, it is removed from the cache.

    Example:
        >>> import io, pickle
        >>> from torchdyn_datasets.array_pickle import load_arrays
        >>> load_arrays(io.BytesIO(pickle.dumps(print)), "evil.pkl")
        Traceback (most recent call last):
        torchdyn_datasets.errors.FormatError: evil.pkl names 'builtins.print', which is no type of arrays: refused
    """
