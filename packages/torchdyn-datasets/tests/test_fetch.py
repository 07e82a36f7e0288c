"""Files: downloaded from a server on this machine, kept, checked, refused."""

import gzip
import hashlib
import pathlib
import subprocess
import sys
import threading
import time
import zipfile
import zlib

import pytest

from torchdyn_core import OptionError, ShapeError, TorchdynError
from torchdyn_datasets import ChecksumError, DownloadError, FormatError
from torchdyn_datasets import fetch as module
from torchdyn_datasets.fetch import RemoteFile, cache_folder, fetch, find_local, opened, reading

CONTENT = bytes(range(256)) * 2000
NAME = "set/numbers.bin"


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def remote(*urls, content=CONTENT, path=NAME):
    return RemoteFile(path, urls, (sha256(content),))


def kept(cache):
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())


class TestDownload:
    def test_a_file_is_downloaded_once_and_kept(self, server, cache):
        server.files["/numbers"] = CONTENT
        file = remote(server.url("/numbers"))
        path = fetch(file)
        assert path == cache / NAME and path.read_bytes() == CONTENT
        assert fetch(file) == path and server.requests == ["/numbers"]
        assert kept(cache) == [NAME]
        (cache / "mine").touch()
        assert path.stat().st_mode == (cache / "mine").stat().st_mode  # who shares the cache may read it

    def test_a_progress_bar_is_shown_unless_unwanted(self, server, cache, capsys):
        server.files["/numbers"] = CONTENT
        path = fetch(remote(server.url("/numbers")))
        assert "100%" in capsys.readouterr().err
        path.unlink()
        fetch(remote(server.url("/numbers")), progress=False)
        assert capsys.readouterr().err == ""

    def test_what_is_not_there_is_named(self, server, cache):
        url = server.url("/missing")
        with pytest.raises(DownloadError, match="404") as caught:
            fetch(remote(url))
        for word in (NAME, url, "TORCHDYN_DATA"):
            assert word in str(caught.value)
        assert isinstance(caught.value, TorchdynError) and isinstance(caught.value, OSError) and kept(cache) == []

    def test_the_next_source_serves_where_one_fails(self, server, cache):
        server.files["/changed"] = b"something else"
        server.files["/numbers"] = CONTENT
        sources = [server.url(path) for path in ("/missing", "/changed", "/numbers")]
        assert fetch(remote(*sources)).read_bytes() == CONTENT
        assert server.requests == ["/missing", "/changed", "/numbers"] and kept(cache) == [NAME]

    def test_all_sources_are_named_where_all_fail(self, server):
        sources = [server.url(path) for path in ("/one", "/two")]
        with pytest.raises(DownloadError) as caught:
            fetch(remote(*sources))
        assert all(url in str(caught.value) for url in sources)

    @pytest.mark.parametrize("announced", [True, False])
    def test_a_connection_that_is_cut_leaves_nothing(self, server, cache, announced):
        def cut(request):
            request.send_response(200)
            if announced:
                request.send_header("Content-Length", str(len(CONTENT)))
            request.end_headers()
            request.wfile.write(CONTENT[:100_000])

        server.files["/numbers"] = cut
        with pytest.raises((DownloadError, ChecksumError), match="numbers"):
            fetch(remote(server.url("/numbers")))
        assert kept(cache) == []
        server.files["/numbers"] = CONTENT
        assert fetch(remote(server.url("/numbers"))).read_bytes() == CONTENT

    def test_a_wrong_checksum_is_refused_with_both(self, server, cache):
        server.files["/numbers"] = b"something else"
        with pytest.raises(ChecksumError) as caught:
            fetch(remote(server.url("/numbers")))
        for word in (NAME, sha256(b"something else"), sha256(CONTENT), server.url("/numbers")):
            assert word in str(caught.value)
        assert isinstance(caught.value, OSError) and kept(cache) == []

    def test_without_a_network_the_error_says_what_to_do(self, cache):
        with pytest.raises(
            DownloadError, match=r"Without a network, put 'set/numbers\.bin' into a folder and let TORCHDYN"
        ):
            fetch(remote("http://127.0.0.1:9/numbers"))  # nobody listens there
        assert kept(cache) == []

    def test_another_file_that_serves_is_named(self):
        file = RemoteFile(NAME, (), (), "set/other.npz")
        with pytest.raises(DownloadError, match=r"put 'set/numbers\.bin', or 'set/other\.npz', into a folder"):
            fetch(file)

    def test_a_download_that_is_interrupted_leaves_nothing(self, server, cache, monkeypatch):
        def interrupt(url, path, progress):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "_get", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(remote(server.url("/numbers")))
        assert kept(cache) == []

    def test_a_server_that_would_pack_what_it_sends_is_told_not_to(self, server, cache):
        """Some servers send a `.gz` file as what it unpacks to, packed on the way, to whoever says it takes that."""
        packed = gzip.compress(CONTENT)

        def willing(request):
            request.send_response(200)
            if "gzip" in request.headers.get("Accept-Encoding", ""):
                request.send_header("Content-Encoding", "gzip")
            request.send_header("Content-Length", str(len(packed)))
            request.end_headers()
            request.wfile.write(packed)

        server.files["/numbers.gz"] = willing
        file = remote(server.url("/numbers.gz"), content=packed, path="set/numbers.gz")
        assert fetch(file).read_bytes() == packed

    def test_a_server_that_falls_silent_is_given_up(self, server, cache, monkeypatch):
        over = threading.Event()

        def silent(request):
            request.send_response(200)
            request.send_header("Content-Length", str(len(CONTENT)))
            request.end_headers()
            request.wfile.write(CONTENT[:1000])
            request.wfile.flush()
            over.wait(20)  # a client without patience of its own sees the connection cut, which is another error

        server.files["/numbers"] = silent
        assert module._TIMEOUT == 30
        monkeypatch.setattr(module, "_TIMEOUT", 0.2)
        with pytest.raises(DownloadError, match="timed out"):
            fetch(remote(server.url("/numbers")))
        over.set()
        assert kept(cache) == []

    def test_a_folder_in_the_place_of_the_file_is_named(self, server, cache):
        server.files["/numbers"] = CONTENT
        (cache / NAME / "inside").mkdir(parents=True)
        with pytest.raises(DownloadError, match=r"cannot be kept as .*numbers\.bin: .*Remove what is in its place"):
            fetch(remote(server.url("/numbers")))
        assert kept(cache) == [] and (cache / NAME / "inside").is_dir()

    def test_two_processes_at_once_leave_one_file(self, server, cache):
        def slow(request):
            request.send_response(200)
            request.send_header("Content-Length", str(len(CONTENT)))
            request.end_headers()
            for start in range(0, len(CONTENT), len(CONTENT) // 4):
                request.wfile.write(CONTENT[start : start + len(CONTENT) // 4])
                deadline = time.monotonic() + 10
                while len(server.requests) < 2 and time.monotonic() < deadline:
                    time.sleep(0.01)  # nobody is done before both have begun

        server.files["/numbers"] = slow
        code = (
            "from torchdyn_datasets.fetch import RemoteFile, fetch\n"
            f"print(fetch(RemoteFile({NAME!r}, ({server.url('/numbers')!r},), ({sha256(CONTENT)!r},)), progress=False))"
        )
        runs = [
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        ends = [run.communicate(timeout=120) for run in runs]
        assert [run.returncode for run in runs] == [0, 0], ends
        assert all(out.strip() == str(cache / NAME) for out, _ in ends)
        assert server.requests == ["/numbers"] * 2
        assert kept(cache) == [NAME] and (cache / NAME).read_bytes() == CONTENT


class TestCache:
    @pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"", b"\1" + CONTENT[1:]])
    def test_a_bad_file_is_refused_removed_and_brought_again(self, server, cache, content):
        server.files["/numbers"] = CONTENT
        file = remote(server.url("/numbers"))
        path = fetch(file)
        path.write_bytes(content)
        with pytest.raises(ChecksumError, match="removed from the cache") as caught:
            fetch(file)
        assert sha256(content) in str(caught.value) and sha256(CONTENT) in str(caught.value)
        assert not path.exists()
        assert fetch(file).read_bytes() == CONTENT and len(server.requests) == 2

    def test_a_bad_file_that_cannot_be_removed_is_said_to_be_there_still(self, cache, monkeypatch):
        path = put(cache, b"bad")

        def refuse(path, missing_ok=False):
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(pathlib.Path, "unlink", refuse)
        with pytest.raises(ChecksumError, match=r"not be removed from the cache \(PermissionError.*TORCHDYN_CACHE"):
            fetch(remote())
        assert path.exists()

    def test_a_good_file_that_another_process_has_put_there_stays(self, cache, monkeypatch):
        path = put(cache, b"bad")

        def replaced(path):
            path.with_name("other").write_bytes(CONTENT)
            path.with_name("other").replace(path)
            return ""

        monkeypatch.setattr(module, "_unpacked_digest", replaced)
        with pytest.raises(ChecksumError, match="another process has replaced it"):
            fetch(remote())
        assert path.read_bytes() == CONTENT

    def test_a_folder_that_cannot_be_written_to_is_named(self, server, tmp_path, monkeypatch):
        """Root may write anywhere, but not into a file."""
        server.files["/numbers"] = CONTENT
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("TORCHDYN_CACHE", str(tmp_path / "file"))
        with pytest.raises(DownloadError, match="cannot be written to") as caught:
            fetch(remote(server.url("/numbers")))
        for word in (NAME, str(tmp_path / "file"), "TORCHDYN_CACHE", "TORCHDYN_DATA"):
            assert word in str(caught.value)
        assert server.requests == []

    def test_it_is_the_users_unless_told_otherwise(self, monkeypatch, cache):
        assert cache_folder() == cache
        monkeypatch.delenv("TORCHDYN_CACHE")
        assert cache_folder().name == "torchdyn" and cache_folder() != cache

    def test_an_unpublished_checksum_lets_any_file_pass(self, server, cache):
        server.files["/numbers"] = b"anything"
        assert fetch(RemoteFile(NAME, (server.url("/numbers"),), ())).read_bytes() == b"anything"


def put(folder, content, name=NAME):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class TestReading:
    """What becomes of files whose content turns out to be bad."""

    FILE = RemoteFile(NAME, (), ())
    OTHER = RemoteFile("set/other.bin", (), ())

    @pytest.mark.parametrize(
        "error",
        [
            OverflowError("too large"), MemoryError(), EOFError("end"), zlib.error("no"), ValueError("no number"),
            TypeError("5"), zipfile.BadZipFile("none"), gzip.BadGzipFile("none"), OSError("Invalid data stream"),
            UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"), ShapeError("not finite"), RecursionError(),
        ],
        ids=repr,
    )  # fmt: skip
    def test_whatever_it_raises_a_bad_file_is_refused_and_removed(self, cache, error):
        path = put(cache, b"bad")
        wanted = f"the set cannot be read: {type(error).__name__}: .*removed from the cache; the next call downloads"
        with pytest.raises(FormatError, match=wanted), reading("the set", {self.FILE: fetch(self.FILE)}):
            raise error
        assert not path.exists()

    @pytest.mark.parametrize("kind", [ChecksumError, FormatError])
    def test_an_error_of_our_own_stays_what_it_is(self, cache, kind):
        paths = {file: put(cache, b"bad", file.path) for file in (self.FILE, self.OTHER)}
        wanted = r"^no set; it was removed.*\(.*numbers\.bin, .*other\.bin\)$"
        with pytest.raises(kind, match=wanted), reading("the set", paths):
            raise kind("no set")
        assert kept(cache) == []

    @pytest.mark.parametrize(
        ("error", "wanted", "message"),
        [
            (PermissionError(13, "denied"), DownloadError, r"^the set cannot be read: PermissionError: .*numbers\.bin"),
            (OSError(5, "Input/output error"), DownloadError, "Input/output error"),
            (DownloadError("no source"), DownloadError, "^no source$"),
            (OptionError("no checksum"), OptionError, "^no checksum$"),
            (KeyboardInterrupt(), KeyboardInterrupt, "^$"),
        ],
        ids=repr,
    )
    def test_what_says_nothing_of_the_content_removes_nothing(self, cache, error, wanted, message):
        path = put(cache, b"fine")
        with pytest.raises(wanted, match=message), reading("the set", {self.FILE: path}):
            raise error
        assert path.exists()

    def test_only_those_files_go_that_the_cache_keeps(self, cache, folder):
        mine, theirs = put(folder, b"bad"), put(cache, b"bad", self.OTHER.path)
        paths = {file: fetch(file) for file in (self.FILE, self.OTHER)}
        wanted = r"was left there \(.*numbers.*\); it was removed from the cache"
        with pytest.raises(FormatError, match=wanted), reading("the set", paths):
            raise ValueError
        assert mine.exists() and not theirs.exists()

    @pytest.mark.parametrize("inside", ["", "mine", "set/.."])
    def test_a_users_folder_may_be_the_cache_or_lie_in_it(self, cache, monkeypatch, inside):
        path = put(cache, b"bad", f"{inside}/{NAME}" if inside == "mine" else NAME)
        (cache / "set").mkdir(exist_ok=True)
        monkeypatch.setenv("TORCHDYN_DATA", str(cache / inside))
        for file in (self.FILE, remote()):
            with pytest.raises(TorchdynError, match="was left there"), reading("the set", {file: fetch(file)}):
                raise ValueError
        assert path.exists()

    def test_a_good_file_that_another_process_has_put_there_stays(self, cache):
        path = put(cache, b"bad")
        with pytest.raises(FormatError, match="another process"), reading("the set", {self.FILE: path}):
            put(cache, b"good", "set/new").replace(path)
            raise ValueError
        assert path.read_bytes() == b"good"

    def test_more_than_any_file_holds_is_not_unpacked(self, cache, monkeypatch):
        monkeypatch.setattr(module, "LARGEST", 1000)
        for content in (bytes(1001), gzip.compress(bytes(1001))):
            path = put(cache, content)
            for size in (-1, None, 100, 5000):
                with pytest.raises(FormatError, match="more than 1000 bytes"), opened(path) as file:
                    while file.read(size):
                        pass
            with opened(put(cache, content[:-1] if len(content) > 1000 else gzip.compress(bytes(1000)))) as file:
                assert len(file.read()) == 1000 and file.read() == b""

    def test_all_of_a_file_is_no_more_than_may_be(self, monkeypatch):
        class Endless:
            def read(self, size):
                assert 0 <= size <= 1001, "this would fill the memory before anybody could look"
                return bytes(size)

        monkeypatch.setattr(module, "LARGEST", 1000)
        with pytest.raises(FormatError, match="more than 1000 bytes"):
            module._Bounded(Endless(), "it").read()


class TestLocalFolder:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        made = tmp_path / "data"
        (made / "set").mkdir(parents=True)
        monkeypatch.setenv("TORCHDYN_DATA", str(made))
        return made

    def test_it_is_looked_in_first(self, folder, server, cache):
        server.files["/numbers"] = CONTENT
        file = remote(server.url("/numbers"))
        fetch(file)
        (folder / NAME).write_bytes(CONTENT)
        assert fetch(file) == folder / NAME and len(server.requests) == 1

    def test_a_packed_file_serves_whoever_packed_it(self, folder):
        for level in (1, 9):
            (folder / f"{NAME}.gz").write_bytes(gzip.compress(CONTENT, level))
            with opened(fetch(remote())) as content:
                assert content.read() == CONTENT

    def test_a_packed_file_is_not_looked_for_packed_twice(self, folder):
        put(folder, b"", "set/numbers.gz.gz")
        assert find_local(remote(path="set/numbers.gz")) is None
        put(folder, b"", "set/numbers.gz")
        assert find_local(remote(path="set/numbers.gz")) == folder / "set/numbers.gz"
        assert find_local(remote(path="set/numbers")) == folder / "set/numbers.gz"

    def test_a_file_that_is_packed_everywhere_may_be_packed_anew(self, folder):
        published, repacked = gzip.compress(CONTENT, 9), gzip.compress(CONTENT, 1)
        assert published != repacked
        file = RemoteFile("set/numbers.gz", (), (sha256(published), sha256(CONTENT)))
        for content in (published, repacked):
            (folder / "set/numbers.gz").write_bytes(content)
            fetch(file)
        (folder / "set/numbers.gz").write_bytes(gzip.compress(CONTENT + b"x"))
        with pytest.raises(ChecksumError):
            fetch(file)

    @pytest.mark.parametrize(
        "content",
        [CONTENT[:-1], gzip.compress(CONTENT)[:-9], b"\x1f\x8b" + CONTENT],
        ids=["cut", "gzip-cut", "gzip-of-text"],
    )
    def test_a_bad_file_is_refused_and_left_alone(self, folder, server, content):
        server.files["/numbers"] = CONTENT
        (folder / NAME).write_bytes(content)
        with pytest.raises(ChecksumError, match="TORCHDYN_DATA names, and was left there") as caught:
            fetch(remote(server.url("/numbers")))
        assert sha256(content) in str(caught.value) and sha256(CONTENT) in str(caught.value)
        assert (folder / NAME).read_bytes() == content and server.requests == []

    def test_what_is_not_there_is_downloaded(self, folder, server, cache):
        server.files["/numbers"] = CONTENT
        assert fetch(remote(server.url("/numbers"))) == cache / NAME

    def test_a_name_of_no_folder_is_an_error(self, folder, monkeypatch):
        monkeypatch.setenv("TORCHDYN_DATA", str(folder / "nowhere"))
        with pytest.raises(OptionError, match=r"TORCHDYN_DATA='.*nowhere' is no folder"):
            fetch(remote())


def test_a_file_that_cannot_be_read_is_named(cache, monkeypatch):
    (cache / "set").mkdir(parents=True)
    (cache / NAME).write_bytes(CONTENT)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module, "_digest", refuse)
    with pytest.raises(DownloadError, match="cannot be read: PermissionError"):
        fetch(remote())
    assert (cache / NAME).exists()
