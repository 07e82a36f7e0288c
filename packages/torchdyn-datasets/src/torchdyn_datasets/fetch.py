"""Files of real data: where they are looked for, how they get there, and what has to be right before one is read.

A file is looked for in the folder that `TORCHDYN_DATA` names, then in the cache (`TORCHDYN_CACHE`, or what
`pooch.os_cache("torchdyn")` says), then at its public sources, one after the other. Wherever it comes from, it is read
only if its checksum is right.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import secrets
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from torchdyn_core import OptionError
from torchdyn_datasets.errors import ChecksumError, DownloadError, FormatError

__all__ = ["LARGEST", "RemoteFile", "cache_folder", "fetch", "find_local", "local_folder", "opened", "reading"]

LARGEST = 1 << 28
"""So many bytes no file here has, unpacked: what packs well may be no more than a way to fill the memory."""

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte until a source is given up

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class RemoteFile:
    """A file, where it is to be had, and how it is recognised.

    Arguments:
        path: Where it lies in a folder of data, `set/name`; in the folder of `TORCHDYN_DATA` also with `.gz` behind.
        urls: Where it is downloaded from, the first that works.
        sha256: Checksums that it may have, packed or, where it is a gzip file, unpacked: who packs a file anew changes
            the one and not the other. Empty: nobody has published one; what is read from it has to be checked.
        instead: Another file that serves as well, where it lies in the folder of `TORCHDYN_DATA`: for error messages.

    Example:
        >>> from torchdyn_datasets.fetch import RemoteFile
        >>> RemoteFile("set/name.csv", ("https://example.org/name.csv",), ("0" * 64,)).name
        'name.csv'
    """

    path: str
    urls: tuple[str, ...]
    sha256: tuple[str, ...]
    instead: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]


def fetch(file: RemoteFile, *, progress: bool = True) -> Path:
    """Where a file lies on this machine, after it was brought there if need be.

    Several processes may ask at once: a file appears in the cache whole or not at all.

    Arguments:
        file: Which file.
        progress: Show a progress bar while it is downloaded.

    Raises:
        ChecksumError: If it is not what it has to be. A bad file in the cache is removed, so that the next call
            downloads it again; one in the folder of `TORCHDYN_DATA` is left alone.
        DownloadError: If no source has it, there is no network, or the cache cannot be written to.
        OptionError: If `TORCHDYN_DATA` names no folder.

    Example:
        >>> import hashlib, os, pathlib, tempfile
        >>> from unittest.mock import patch
        >>> from torchdyn_datasets.fetch import RemoteFile, fetch
        >>> hello = RemoteFile("hello.txt", urls=(), sha256=(hashlib.sha256(b"hello").hexdigest(),))
        >>> with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, TORCHDYN_DATA=folder):
        ...     _ = pathlib.Path(folder, "hello.txt").write_text("hello")
        ...     fetch(hello).name
        'hello.txt'
    """
    path = find_local(file)
    if path is None:
        path = cache_folder() / file.path
        if not _is_file(path):
            return _download(file, path, progress)
    with reading(file.path, {file: path}):
        _check(file, path)
    return path


def find_local(file: RemoteFile) -> Path | None:
    """The file in the folder that `TORCHDYN_DATA` names, as it is or gzipped, if it is there."""
    folder = local_folder()
    if folder is None:
        return None
    names = (file.path,) if file.path.endswith(".gz") else (file.path, file.path + ".gz")
    return next((folder / name for name in names if _is_file(folder / name)), None)


def local_folder() -> Path | None:
    """The folder that `TORCHDYN_DATA` names, if it is set.

    Raises:
        OptionError: If there is no such folder.
    """
    name = os.environ.get("TORCHDYN_DATA", "")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise OptionError(f"TORCHDYN_DATA={name!r} is no folder; wanted one that holds data sets, or no such variable")
    return folder


def cache_folder() -> Path:
    """Where downloaded files are kept: `TORCHDYN_CACHE`, or the user's cache folder."""
    import pooch  # type: ignore[import-untyped] # brings in an HTTP client, which nobody needs who has the data

    return Path(os.environ.get("TORCHDYN_CACHE") or pooch.os_cache("torchdyn")).expanduser()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """A file's bytes to be read in their order, unpacked if it is a gzip file.

    Raises:
        FormatError: When more than `LARGEST` bytes are read.
    """
    with path.open("rb") as file, contextlib.ExitStack() as stack:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        content = stack.enter_context(gzip.open(file)) if packed else file
        yield cast(IO[bytes], _Bounded(content, path))  # reads like a file


class _Bounded(io.BufferedIOBase):
    """A stream that ends in an error where more comes out of it than any file here holds."""

    def __init__(self, content: io.BufferedIOBase, path: Path) -> None:
        self._content, self._path, self._left = content, path, LARGEST

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._left + 1 if size is None or size < 0 else min(size, self._left + 1)
        found = self._content.read(wanted)
        self._left -= len(found)
        if self._left < 0:
            raise FormatError(f"{self._path} holds more than {LARGEST} bytes, unpacked: refused")
        return found


@contextlib.contextmanager
def reading(name: str, files: Mapping[RemoteFile, Path]) -> Iterator[None]:
    """What goes on while files are read: where they are not what they have to be, they leave the cache.

    A broken file fails in as many ways as there are readers; whatever they raise, it is one error of this package, and
    the next call starts afresh. Files in the folder that `TORCHDYN_DATA` names are left alone.

    Arguments:
        name: What is read, for error messages.
        files: All files that it is read from, each where `fetch` found it.

    Raises:
        ChecksumError: If one was raised within; the message then says what became of the files.
        FormatError: If one was raised within, or anything else that a file's content causes.
        DownloadError: If the system does not let a file be read, which says nothing of its content.

    Example:
        >>> import os, pathlib, tempfile
        >>> from unittest.mock import patch
        >>> from torchdyn_datasets.fetch import RemoteFile, fetch, reading
        >>> number = RemoteFile("number.txt", urls=(), sha256=())
        >>> with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, TORCHDYN_CACHE=folder):
        ...     _ = pathlib.Path(folder, "number.txt").write_text("one")
        ...     path = fetch(number)
        ...     with reading("the number", {number: path}):
        ...         int(path.read_text())
        Traceback (most recent call last):
        torchdyn_datasets.errors.FormatError: the number cannot be read: ValueError: ...; it was removed from...
    """
    seen = {path: _stamp(path) for path in files.values()}
    try:
        yield
    except (OptionError, DownloadError):  # neither says that a file is bad
        raise
    except (ChecksumError, FormatError) as error:
        raise type(error)(f"{error}; {_fates(files, seen)}") from error
    except Exception as error:
        what = f"{name} cannot be read: {_reason(error)}"
        if isinstance(error, OSError) and error.errno is not None:  # the system's own; those of content have no number
            raise DownloadError(f"{what} ({', '.join(map(str, files.values()))})") from error
        raise FormatError(f"{what}; {_fates(files, seen)}") from error


def _stamp(path: Path) -> _Stamp | None:
    """What tells a file from one that takes its place; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _fates(files: Mapping[RemoteFile, Path], seen: Mapping[Path, _Stamp | None]) -> str:
    """Remove what is in the cache, and say what became of each file."""
    fates: dict[str, list[str]] = {}
    for file, path in files.items():
        fates.setdefault(_fate(file, path, seen[path]), []).append(str(path))
    return "; ".join(f"{fate} ({', '.join(paths)})" for fate, paths in fates.items())


def _fate(file: RemoteFile, path: Path, seen: _Stamp | None) -> str:
    # a user's folder may be the cache, or lie in it: what counts is how the file was found
    local = find_local(file)
    if local is not None and _same(local, path):
        return "it lies in the folder that TORCHDYN_DATA names, and was left there"
    if path != cache_folder() / file.path:
        return "it was left where it lies"
    if _stamp(path) not in (seen, None):  # the other one may be good
        return "another process has replaced it in the cache since, and the next call reads that"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        failure = _reason(error)
        return (
            f"it could not be removed from the cache ({failure}): remove it, or let TORCHDYN_CACHE name another folder"
        )
    return "it was removed from the cache; the next call downloads it again"


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one == other


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder on the way that may not be looked into
        return False


def _check(file: RemoteFile, path: Path) -> None:
    """Raise `ChecksumError` unless the file has one of its checksums."""
    if not file.sha256:
        return
    digest = _digest(path)
    if digest not in file.sha256 and _unpacked_digest(path) not in file.sha256:
        expected = " or ".join(file.sha256)
        raise ChecksumError(f"{file.path!r} is broken, cut off or changed: its sha256 is {digest}, wanted {expected}")


def _digest(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _unpacked_digest(path: Path) -> str:
    """The checksum of what is in a gzip file; empty if it is none, or a broken one."""
    digest = hashlib.sha256()
    try:
        with gzip.open(path) as content:
            while block := content.read(_BLOCK):
                digest.update(block)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return ""
    return digest.hexdigest()


def _download(file: RemoteFile, target: Path, progress: bool) -> Path:
    """Bring a file from the first of its sources that has it whole."""
    if not file.urls:
        raise DownloadError(_missing(file, "it has no public source that it may be downloaded from"))
    failures: list[str] = []
    worst: Exception | None = None
    for url in file.urls:
        with _scratch(file, target) as scratch:
            try:
                _get(url, scratch, progress)
                _check(file, scratch)
            except ChecksumError as error:
                failures.append(f"{error}; it was downloaded from {url} and not kept")
                worst = error
            except Exception as error:  # whatever an HTTP client raises: the next source may do
                failures.append(f"{url}: {_reason(error)}")
                worst = worst or error
            else:
                return _keep(file, scratch, target)
    if isinstance(worst, ChecksumError):
        raise ChecksumError("; ".join(failures)) from worst
    raise DownloadError(_missing(file, "; ".join(failures))) from worst


def _keep(file: RemoteFile, scratch: Path, target: Path) -> Path:
    """Move a file to where it belongs: whole, at once; it may replace another process's equal copy."""
    try:
        return scratch.replace(target)
    except OSError as error:
        raise DownloadError(
            f"{file.path!r} was downloaded, but cannot be kept as {target}: {_reason(error)}. Remove what is in its "
            "place, or let TORCHDYN_CACHE name another folder"
        ) from error


@contextlib.contextmanager
def _scratch(file: RemoteFile, target: Path) -> Iterator[Path]:
    """A new file beside the target, on the same disk, which is gone afterwards unless it was moved."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        path.open("xb").close()  # a new one, which whoever may read the folder may read
    except OSError as error:
        raise DownloadError(
            f"{file.path!r} cannot be kept: the cache folder {cache_folder()} cannot be written to "
            f"({_reason(error)}). Let TORCHDYN_CACHE name a folder that can, or TORCHDYN_DATA one that holds the file"
        ) from error
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def _get(url: str, path: Path, progress: bool) -> None:
    import pooch

    # what is sent is kept as it is: a server that packs what it sends would change the checksum
    headers = {"Accept-Encoding": "identity"}
    try:
        pooch.HTTPDownloader(progressbar=progress, timeout=_TIMEOUT, headers=headers)(url, str(path), None)
    except Exception as error:
        answer = getattr(error, "response", None)
        if answer is not None:
            answer.close()  # pooch leaves the connection of a refusal open
        raise


def _missing(file: RemoteFile, reason: str) -> str:
    places = repr(file.path) + (f", or {file.instead!r}," if file.instead else "")
    return (
        f"{file.path!r} could not be had: {reason}. Without a network, put {places} into a folder and let "
        "TORCHDYN_DATA name that folder"
    )


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
