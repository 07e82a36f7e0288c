"""check_plugin: sound plugins pass, each thing that keeps one from being published is found, and said in words."""

import functools
from typing import ClassVar

import pytest

from torchdyn_core.registry import Registry
from torchdyn_core.testing import Rotation, check_plugin
from torchdyn_core.testing.docstrings import docstring_problems

GOOD = '(Component("field", "a", "some_parts:Good", "Nothing"),)'

# a manifest that is an object: its hook is a method
HOLDER = """
from torchdyn_core.plugin import Component, hookimpl

class Manifest:
    @hookimpl
    def torchdyn_components(self):
        {inside}
        return (Component("field", "a", "some_parts:Good", "Nothing"),)

manifest = Manifest()
"""

PARTS = '''
from torchdyn_core import Solver, VectorField

class Good(VectorField):
    """A field of nothing.

    Example:
        >>> 1 + 1
        2
    """

    def forward(self, t, y):
        return 0 * y

class Bare(VectorField):
    def forward(self, t, y):
        return 0 * y

class Unfinished(Solver):
    """A method that was never written.

    Example:
        >>> 1 + 1
        2
    """

def moons(n, noise, seed=0):
    """Two moons.

    Arguments:
        n: Points.

    Example:
        >>> 1 + 1
        2
    """
'''


@pytest.fixture
def check(site, monkeypatch):
    """Installs a plugin, and checks it."""

    def run(source, value="checked_plugin"):
        source = site.manifest(**{"components": GOOD, **source}) if isinstance(source, dict) else source
        site.install("torchdyn-checked", {"checked": value}, checked_plugin=source, some_parts=PARTS)
        monkeypatch.setenv("PYTHONPATH", str(site.folder), prepend=":")
        check_plugin("checked", Registry())

    return run


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({}, "checked_plugin [heavy, light]"),
        (HOLDER.format(inside=""), "checked_plugin:manifest"),
        ({"mark": "@hookimpl(specname='torchdyn_components')", "hook": "my_components()"}, "checked_plugin"),
        ({"above": "print('hello world')", "inside": "print('[1]')"}, "checked_plugin"),
    ],
    ids=["extras", "object", "specname", "prints"],
)
def test_a_sound_plugin_is_fit_to_be_published(check, source, value):
    check(source, value)


BYE = "import os, sys; 'pytest' in sys.modules or (print('bye', file=sys.stderr, flush=True), os._exit(3))"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"above": "import scipy.integrate"}, "'checked_plugin' imports scipy: import them in the module of the class"),
        ({"inside": "import scipy.integrate"}, "'checked_plugin' imports scipy"),
        ({"above": "1 / 0"}, "ZeroDivisionError"),
        # what breaks only where nothing else has been imported before, as in a user's process
        (
            {"above": "import sys; assert 'pytest' in sys.modules, 'not alone'"},
            "in a process of its own.*AssertionError: not alone.*tell its authors",
        ),
        ({"above": BYE}, "ends the process that loads it, with exit code 3:.*bye"),
    ],
    ids=["heavy", "heavy hook", "broken", "broken alone", "exits"],
)
def test_what_keeps_a_manifest_from_being_published_is_found(check, options, words):
    with pytest.raises(AssertionError, match=f"(?s){words}"):
        check(options)


def test_what_keeps_components_from_being_published_is_found(check):
    components = """(
        Component("field", "a", "some_parts:Good"),
        Component("field", "b", "some_parts:Nothing", "Nothing"),
        Component("field", "c", "some_parts:Bare", "Bare"),
        Component("solver", "d", "some_parts:Unfinished", "Unfinished"),
        Component("dataset", "moons", "some_parts:moons", "Two moons"),
    )"""
    with pytest.raises(AssertionError) as caught:
        check({"components": components})
    lines = [line for line in str(caught.value).splitlines() if line.lstrip().startswith("- ")]
    found = {
        "field 'checked.a' has no summary",
        "has no attribute 'Nothing'",
        "some_parts:Bare has no docstring",
        "is abstract",
        "some_parts:moons does not say what its arguments ['noise', 'seed'] are",
    }
    assert len(lines) == len(found) and all(any(words in line for line in lines) for words in found), lines


def test_the_hook_of_an_object_is_asked_too(check):
    with pytest.raises(AssertionError, match="'checked_plugin:manifest' imports scipy"):
        check(HOLDER.format(inside="import scipy.integrate"), "checked_plugin:manifest")


def test_a_plugin_that_is_not_there_is_not_fit():
    with pytest.raises(AssertionError, match=r"no plugin 'unheard' is installed; there are \['core'\]"):
        check_plugin("unheard", Registry(entry_points=tuple))


def test_core_is_fit_to_be_published():
    check_plugin("core", Registry(entry_points=tuple))


EXAMPLE = "\n\nExample:\n    >>> 1\n    1\n"


def described(text):
    return docstring_problems(type("Described", (), {"__doc__": text}))


@pytest.mark.parametrize(
    "text",
    [
        f"A class.{EXAMPLE}",
        f"A class. It has:\n\n    an indented line.\n\nThis is what follows:\n    a line{EXAMPLE}",
        f"A class.\n\nSee also:\n    Other.\n\nArguments:\n    a: One.\n\nReferences:\n    None.{EXAMPLE}",
    ],
)
def test_a_docstring_in_the_template_is_sound(text):
    assert described(text) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"A class{EXAMPLE}", "does not begin with a sentence on one line"),
        ("A class.", "has no Example that runs"),
        ("A class.\n\nExample:\n    Like this.", "has no Example that runs"),
        ("A class: >>> 1.\n\nExample:\n    Like this.", "has no Example that runs"),
        (f"A class.\n\nParameters:\n    a: One.{EXAMPLE}", "has sections named ['Parameters']"),
        (f"A class.\n\nNotes:\n    One.\n\nOther things:\n    Two.{EXAMPLE}", "named ['Notes', 'Other things']"),
        (f"A class.{EXAMPLE}\nArguments:\n    a: One.", "order ['Example', 'Arguments']"),
    ],
)
def test_each_departure_from_the_template_is_found(text, words):
    (problem,) = described(text)
    assert words in problem


class Documented:
    """A class.

    Example:
        >>> 1

    Arguments:
        a: One.
    """

    scale: ClassVar[float] = 1.0

    def __init__(self, a, b):
        pass


def function(a, b, *more, _seed=0):
    """A function.

    Arguments:
        a: One.
        *more: All others.

    Example:
        >>> 1
    """


def test_docstrings_are_held_to_the_template():
    said = " ".join(docstring_problems(Documented))
    assert "['b']" in said and "order" in said
    assert docstring_problems(Rotation) == []
    assert docstring_problems(type("None", (), {})) == ["has no docstring"]


def test_arguments_are_those_that_a_caller_gives():
    assert docstring_problems(function) == ["does not say what its arguments ['b'] are"]
    assert docstring_problems(functools.partial(function, 1, 2)) == []
    assert docstring_problems(functools.partial(function, 1)) == ["does not say what its arguments ['b'] are"]
    inherited = type("Inherited", (Documented,), {"__doc__": f"A class.{EXAMPLE}"})
    assert docstring_problems(inherited) == []
    assert not any("arguments" in problem for problem in docstring_problems(dict))  # it has no signature


def test_a_partial_may_have_a_docstring_of_its_own():
    part = functools.partial(function, 1, 2)
    part.__doc__ = "Half of it"
    assert "does not begin with a sentence on one line" in docstring_problems(part)
