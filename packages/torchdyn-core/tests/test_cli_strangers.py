"""The command line beside strangers' plugins: what they print, break or call themselves stays theirs."""

import json
import sys

import pytest

NOISY = '(Component("dataset", "part", "builtins:dict", "A part"),)'

ODD = """(
    Component("dataset", "part", "odd_parts:part"),
    Component("dataset", "told", "odd_parts:told"),
    Component("dataset", "instance", "odd_parts:instance"),
    Component("dataset", "builtin", "builtins:dict"),
    Component("solver", "euler", "torchdyn_core.methods:Euler", "Explicit Euler: order 1"),
    Component("solver", "solver", "odd_parts:Odd", "a:b:c [red]and[/red] :x:"),
)"""

PARTS = '''
import functools
from torchdyn_core import Euler

def make(a, b, c):
    """Makes data."""

part = functools.partial(make, 1)
told = functools.partial(make, 1)
told.__doc__ = "Half of it."

class Maker:
    """Makes data when it is called."""

    def __call__(self, n):
        pass

instance = Maker()

class Array:
    def __repr__(self):
        return "array([1,\\n       2])"

class Speechless:
    def __repr__(self):
        raise RuntimeError("repr")

class Odd(Euler):
    """A slice y[:x:], [bold]bold[/bold], café →.

    Example:
        >>> 1
    """

    def __init__(self, a, b: "int | None" = Array(), *args, c=(1, "x  y"), d=Speechless(), **kw: str):
        pass
'''


@pytest.mark.parametrize(
    "arguments", [("plugins",), ("list",), ("show", "noisy.part"), ("doctor",)], ids=lambda arguments: arguments[0]
)
def test_json_is_all_that_stands_on_stdout(run, site, arguments):
    source = site.manifest(NOISY, above="print('loading')")
    site.install("torchdyn-noisy", {"noisy": "noisy_plugin"}, noisy_plugin=source)
    result = run(*arguments, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout) and "loading" in result.stderr


def test_nor_does_a_library_write_to_stdout_past_python(real, site):
    """At once, or when the process ends and the C library empties its buffers."""
    past = "import ctypes, os\nos.write(1, b'at once')\nctypes.CDLL(None).printf(b'at the end')\nprint('loading')"
    site.install("torchdyn-noisy", {"noisy": "noisy_plugin"}, noisy_plugin=site.manifest(NOISY, above=past))
    result = real("list", "dataset", "--json")
    assert result.returncode == 0 and json.loads(result.stdout)[0]["name"] == "noisy.part"
    assert all(words in result.stderr for words in ("loading", "at once", "at the end"))


def test_a_broken_plugin_under_strict_is_an_error_in_one_line(run, broken, monkeypatch):
    monkeypatch.setenv("TORCHDYN_STRICT_PLUGINS", "1")
    result = run("list")
    assert result.exit_code == 1 and not result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: plugin 'broken' of torchdyn-broken 1.2 failed to load") and "libgraph.so" in line


def test_to_show_one_name_no_stranger_is_asked(run, site, broken, monkeypatch):
    site.sound()
    assert run("show", "dopri5").exit_code == 0 and run("show", "dopri5", "--kind", "solver").exit_code == 0
    assert not {"sound_plugin", "broken_plugin"} & set(sys.modules)
    monkeypatch.setenv("TORCHDYN_STRICT_PLUGINS", "1")
    for name in ("dopri5", "sound.step"):
        result = run("show", name)
        assert result.exit_code == 0 and not result.stderr
    assert "broken_plugin" not in sys.modules


def test_a_broken_stranger_is_no_error_where_warnings_are(run, site, broken):
    """The filters of these tests make errors of warnings."""
    site.sound()
    for arguments in (("list",), ("show", "sound.step"), ("show", "sound.step", "--kind", "solver"), ("doctor",)):
        result = run(*arguments)
        assert result.exit_code == (1 if arguments == ("doctor",) else 0), result.exception


@pytest.fixture
def odd(site):
    site.install("torchdyn-odd", {"odd": "odd_plugin"}, odd_plugin=site.manifest(ODD), odd_parts=PARTS)


@pytest.mark.parametrize(
    ("name", "call", "docstring"),
    [
        ("odd.part", "part(b, c)", "Makes data."),
        ("odd.instance", "instance(n)", "Makes data when it is called."),
        ("odd.builtin", "dict(...)", "dict() -> new empty dictionary"),
        ("odd.told", "told(b, c)", "Half of it."),
    ],
)
def test_show_describes_whatever_can_be_called(run, odd, name, call, docstring):
    result = run("show", name, "--json")
    assert result.exit_code == 0, result.exception
    shown = json.loads(result.stdout)
    assert shown["call"] == call and shown["docstring"].startswith(docstring)
    assert call in run("show", name).stdout


def test_a_component_belongs_to_the_plugin_whose_name_it_bears(run, odd):
    """Also where its record is the same as that of one of core's."""
    assert json.loads(run("show", "odd.euler", "--json").stdout)["distribution"] == "torchdyn-odd 1.2"
    assert json.loads(run("show", "euler", "--json").stdout)["distribution"].startswith("torchdyn-core ")


def test_options_are_listed_one_in_a_line(run, odd):
    lines = run("show", "pid").stdout.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("  options "))
    assert lines[first] == "  options       rtol: float | Tensor = 0.001"
    assert lines[first + 1].startswith(" " * 16 + "atol: float | Tensor = ")
    lines = run("show", "odd.solver").stdout.splitlines()
    first = next(index for index, line in enumerate(lines) if line.startswith("  options "))
    assert [line[16:] for line in lines[first : first + 6]] == [
        "a",
        "b: int | None = array([1, 2])",
        "*args",
        "c = (1, 'x  y')",
        lines[first + 4][16:],
        "**kw: str",
    ]
    assert lines[first + 4].startswith(" " * 16 + "d = <odd_parts.Speechless object at 0x")


def test_what_strangers_say_is_printed_as_it_stands(run, odd):
    """Rich would make of `:x:` a picture, and of `[red]` a colour."""
    listed, text = run("list", "solver").stdout, run("show", "odd.solver").stdout
    for printed in (listed, text):
        assert "a:b:c [red]and[/red] :x:" in printed
    assert "\nA slice y[:x:], [bold]bold[/bold], café →.\n" in text and "\n    >>> 1\n" in text
    assert "':x:[red]'" in run("show", ":x:[red]").stderr


def test_what_the_terminal_cannot_print_is_printed_as_an_escape(real, odd):
    result = real("show", "odd.solver", PYTHONIOENCODING="ascii")
    assert result.returncode == 0, result.stderr
    assert "A slice y[:x:], [bold]bold[/bold], caf\\xe9 \\u2192." in result.stdout
