"""Files of real data: where they are looked for, how they get there, and what has to be right before one is read.

A file is looked for in the folder that `TORCHDYN_DATA` names, then in the cache (`TORCHDYN_CACHE`, or what
`pooch.os_cache("torchdyn")` says), then at its public sources, one after the other. Wherever it comes from, it is read
only if its checksum is right.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from torchdyn_core import OptionError
from torchdyn_datasets.errors import ChecksumError, DownloadError

__all__ = ["RemoteFile", "cache_folder", "discard", "fetch", "find_local", "local_folder", "opened"]

_BLOCK = 1 << 20
_TIMEOUT = 30.0  # seconds without a byte until a source is given up


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
    found = find_local(file)
    if found is not None:
        _check(file, found, "it lies in the folder that TORCHDYN_DATA names, and was left there")
        return found
    target = cache_folder() / file.path
    if not _is_file(target):
        return _download(file, target, progress)
    try:
        _check(file, target, "it was removed from the cache; the next call downloads it again")
    except ChecksumError:
        discard(target)
        raise
    return target


def find_local(file: RemoteFile) -> Path | None:
    """The file in the folder that `TORCHDYN_DATA` names, as it is or gzipped, if it is there."""
    folder = local_folder()
    if folder is None:
        return None
    candidates = (folder / file.path, folder / (file.path + ".gz"))
    return next((path for path in candidates if _is_file(path)), None)


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
    """A file's bytes, unpacked if it is a gzip file."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        with gzip.open(file) as unpacked:
            yield unpacked  # type: ignore[misc] # reads like a file


def discard(path: Path) -> None:
    """Remove a file, unless somebody else was faster, or it may not be removed."""
    with contextlib.suppress(OSError):
        path.unlink()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder on the way that may not be looked into
        return False


def _check(file: RemoteFile, path: Path, fate: str) -> None:
    """Raise `ChecksumError` unless the file has one of its checksums."""
    if not file.sha256:
        return
    try:
        digest = _digest(path)
        fine = digest in file.sha256 or _unpacked_digest(path) in file.sha256
    except OSError as error:
        raise DownloadError(f"{file.path!r} lies at {path}, but cannot be read: {_reason(error)}") from error
    if not fine:
        expected = " or ".join(file.sha256)
        raise ChecksumError(
            f"{file.path!r} is broken, cut off or changed: its sha256 is {digest}, wanted {expected}; {fate} ({path})"
        )


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
                _check(file, scratch, f"it was downloaded from {url} and not kept")
            except ChecksumError as error:
                failures.append(str(error))
                worst = error
            except Exception as error:  # whatever an HTTP client raises: the next source may do
                failures.append(f"{url}: {_reason(error)}")
                worst = worst or error
            else:
                scratch.replace(target)  # whole and right, at once; it may replace another process's equal copy
                return target
    if isinstance(worst, ChecksumError):
        raise ChecksumError("; ".join(failures)) from worst
    raise DownloadError(_missing(file, "; ".join(failures))) from worst


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
        discard(path)


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
