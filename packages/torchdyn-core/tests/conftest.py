"""One thread and one seed for every test, whatever ran before it; fake distributions for the registry to find; models
that somebody else compiles.
"""

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest
import torch
from torch import nn

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def fails():
    """Runs a test of a suite on a component; it has to fail, and not to skip."""

    def run(suite, component, test, *arguments, **attributes):
        made = type("TestMine", (suite,), {"make": lambda self: component(), **attributes})
        with pytest.raises((Exception, pytest.fail.Exception, pytest.skip.Exception)) as caught:
            getattr(made(), test)(*arguments)
        assert not isinstance(caught.value, pytest.skip.Exception), f"skipped: {caught.value}"

    return run


SOUND = """(
    Component("solver", "step", "sound_methods:Step", "One step", "arXiv:0000.00000"),
    Component("field", "decay", "sound_methods:Decay"),
)"""

METHODS = """
from torchdyn_core import Euler, VectorField

class Step(Euler):
    pass

class Decay(VectorField):
    def forward(self, t, y):
        return -y
"""


class Site:
    def __init__(self, folder):
        self.folder = folder

    @staticmethod
    def manifest(
        components='(Component("solver", "a", "b:C"),)', *, above="", mark="@hookimpl", inside="pass",
        hook="torchdyn_components()",
    ):  # fmt: skip
        """The source of a manifest: its hook gives `components`, an expression, once it is through with `inside`."""
        head = f"{textwrap.dedent(above)}\nfrom torchdyn_core.plugin import Component, hookimpl\n"
        return f"{head}\n{mark}\ndef {hook}:\n    {inside}\n    return {components}\n"

    def install(self, distribution, points, *, group="torchdyn.v1", **modules):
        """A distribution as pip would leave it: metadata, entry points, modules."""
        info = self.folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
        for name, source in modules.items():
            (self.folder / f"{name}.py").write_text(textwrap.dedent(source))

    def sound(self):
        sources = {"sound_plugin": self.manifest(SOUND), "sound_methods": METHODS}
        self.install("torchdyn-sound", {"sound": "sound_plugin"}, **sources)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder on the path to install fake distributions into."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("TORCHDYN_PLUGINS", raising=False)
    monkeypatch.delenv("TORCHDYN_STRICT_PLUGINS", raising=False)
    before = set(sys.modules)
    yield Site(tmp_path)
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {path.stem for path in tmp_path.iterdir()}:
            del sys.modules[name]


@pytest.fixture
def run(site, monkeypatch):
    """Runs a command on a registry of its own."""
    from typer.testing import CliRunner

    from torchdyn_core import registry
    from torchdyn_core.cli.app import app

    monkeypatch.setenv("COLUMNS", "200")

    def command(*arguments):
        registry.default_registry.cache_clear()
        return CliRunner().invoke(app, list(arguments))

    yield command
    registry.default_registry.cache_clear()


@pytest.fixture
def real(site):
    """Runs a command in a process of its own, as a shell would."""

    def command(*arguments, **environ):
        path = f"{site.folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        code = "from torchdyn_core.cli import main; main()"
        environ = {**os.environ, "PYTHONPATH": path, **environ}
        return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environ)

    return command


@pytest.fixture
def broken(site):
    site.install("torchdyn-broken", {"broken": "broken_plugin"}, broken_plugin="raise OSError('libgraph.so')")


@pytest.fixture
def no_traces():
    """Nothing that another test had traced."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Model(nn.Module):
    """A user's model: something before a solve, something behind it."""

    def __init__(self, node, read=None):
        super().__init__()
        torch.manual_seed(1)
        self.before, self.node, self.behind = nn.Linear(3, 2).double(), node, nn.Linear(2, 1).double()
        self.read = read

    def forward(self, x):
        y = self.before(x)
        return self.behind(self.node(y) if self.read is None else self.read(self.node, y))


@pytest.fixture
def around():
    """Makes a user's model around a layer; `read` asks the layer otherwise than by calling it."""
    return Model


class Backend:
    """Runs graphs as they are, and keeps them."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        return graph.forward


@pytest.fixture
def backend():
    """A compiler's backend that runs graphs as they are, and keeps them."""
    return Backend()
