"""A cache of its own for every test, and a server on this machine that stands in for the network."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

DATA = os.environ.get("TORCHDYN_DATA", "")  # read before the tests take it away


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The cache folder; no test sees the user's, or finds data in a folder that it was not told of."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("TORCHDYN_CACHE", str(folder))
    monkeypatch.delenv("TORCHDYN_DATA", raising=False)
    return folder


@pytest.fixture
def data(monkeypatch):
    """The folder of real data, where there is one."""
    if not DATA:
        pytest.skip("TORCHDYN_DATA names no folder with the real data sets")
    monkeypatch.setenv("TORCHDYN_DATA", DATA)
    return Path(DATA)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of data to put files into."""
    made = tmp_path / "data"
    made.mkdir()
    monkeypatch.setenv("TORCHDYN_DATA", str(made))
    return made


class Server:
    """Serves what `files` holds: a path's bytes, or a function that answers a request."""

    def __init__(self):
        self.files, self.requests = {}, []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.requests.append(self.path)
                found = owner.files.get(self.path)
                if callable(found):
                    found(self)
                elif found is None:
                    self.send_error(404)
                else:
                    whole(self, found)

            def log_message(self, *words):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def url(self, path):
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def whole(request, content):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()
