"""Whether a plugin is fit to be published: what `check_plugin` and the template of docstrings notice."""

from typing import ClassVar

import pytest

from torchdyn_core.registry import Registry
from torchdyn_core.testing import Rotation, check_plugin
from torchdyn_core.testing.docstrings import docstring_problems

PLUGIN = """
{extra}
from torchdyn_core.plugin import Component, hookimpl

@hookimpl
def torchdyn_components():
    return (Component("field", "a", "{target}", "{summary}"),)
"""

GOOD = '''
from torchdyn_core import VectorField

class Good(VectorField):
    """A field of nothing.

    Example:
        >>> 1 + 1
        2
    """

class Bare(VectorField):
    pass
'''


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, None),
        ({"extra": "import scipy.integrate"}, "imports scipy"),
        ({"summary": ""}, "no summary"),
        ({"target": "some_fields:Nothing"}, "has no attribute 'Nothing'"),
        ({"target": "some_fields:Bare"}, "has no docstring"),
        ({"extra": "1 / 0"}, "ZeroDivisionError"),
    ],
)
def test_check_plugin_finds_what_keeps_a_plugin_from_being_published(site, monkeypatch, options, words):
    source = PLUGIN.format(**{"extra": "", "target": "some_fields:Good", "summary": "Nothing", **options})
    site.install("torchdyn-checked", {"checked": "checked_plugin"}, checked_plugin=source, some_fields=GOOD)
    monkeypatch.setenv("PYTHONPATH", str(site.folder), prepend=":")
    registry = Registry()
    if words is None:
        check_plugin("checked", registry)
    else:
        with pytest.raises(AssertionError, match=words):
            check_plugin("checked", registry)
    with pytest.raises(AssertionError, match="no plugin 'unheard'"):
        check_plugin("unheard", registry)


def test_core_is_fit_to_be_published():
    check_plugin("core", Registry(entry_points=tuple))


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


def test_docstrings_are_held_to_the_template():
    said = " ".join(docstring_problems(Documented))
    assert "['b']" in said and "order" in said
    assert docstring_problems(Rotation) == []
    assert docstring_problems(type("None", (), {})) == ["has no docstring"]


SOUND = [
    ("checked_plugin [heavy]", PLUGIN),  # an entry point with extras
    ("checked_plugin", "print('hello world')\n" + PLUGIN),
    ("checked_plugin", PLUGIN.replace("@hookimpl", "@hookimpl(specname='torchdyn_components')").replace(
        "def torchdyn_components", "def bring")),
]  # fmt: skip


@pytest.mark.parametrize(("point", "source"), SOUND, ids=["extras", "prints", "another name for the hook"])
def test_a_sound_plugin_is_not_complained_of(site, monkeypatch, point, source):
    source = source.format(extra="", target="some_fields:Good", summary="Nothing")
    site.install("torchdyn-checked", {"checked": point}, checked_plugin=source, some_fields=GOOD)
    monkeypatch.setenv("PYTHONPATH", str(site.folder), prepend=":")
    check_plugin("checked", Registry())


def test_what_the_hook_imports_counts(site, monkeypatch):
    source = PLUGIN.format(extra="", target="some_fields:Good", summary="Nothing")
    source = source.replace("    return", "    import scipy.integrate\n    return")
    site.install("torchdyn-checked", {"checked": "checked_plugin"}, checked_plugin=source, some_fields=GOOD)
    monkeypatch.setenv("PYTHONPATH", str(site.folder), prepend=":")
    with pytest.raises(AssertionError, match="imports scipy"):
        check_plugin("checked", Registry())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no sentence\n\nExample:\n    >>> 1\n", "does not begin with a sentence"),
        ("One.\n\n>>> 1 / 0\n\nExample:\n    Like so.\n", "has no Example that runs"),
        ("One.\n\nParameters:\n    a: A.\n\nExample:\n    >>> 1\n", "sections named ['Parameters']"),
        ("One.\n\nNotes:\n    Many.\n\nExample:\n    >>> 1\n", "sections named ['Notes']"),
    ],
)
def test_each_rule_of_the_template_is_held(text, words):
    assert any(words in problem for problem in docstring_problems(type("Some", (), {"__doc__": text})))


def test_a_function_documents_its_arguments_too():
    def digits(fold):
        """Digits.

        Example:
            >>> 1
        """

    assert docstring_problems(digits) == ["does not say what its arguments ['fold'] are"]
