"""What the documents show is what runs."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "torchdyn-vanderpol"


def blocks(document, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)


DOCUMENTS = [
    "README.md",
    "docs/plugins.md",
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("packages/*/README.md")),
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_python_blocks_run_one_after_the_other(document):
    found = blocks(document, "python")
    assert found
    namespace = {"__name__": "document"}
    for block in found:
        exec(compile(block, document, "exec"), namespace)


def bodies(source):
    """Every function of a module by class and name, without docstrings of classes."""
    tree = ast.parse(source)
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = ast.dump(node)
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    found[f"{node.name}.{inner.name}"] = ast.dump(inner)
    return found


def test_the_guide_quotes_the_example():
    source = (EXAMPLE / "src/torchdyn_vanderpol/__init__.py").read_text()
    tests = (EXAMPLE / "tests/test_vanderpol.py").read_text()
    real, quoted = {**bodies(source), **bodies(tests)}, bodies("\n".join(blocks("docs/plugins.md", "python")))
    assert {name for name in quoted if name in real} >= set(bodies(source)) | {"TestVanDerPol.make", "TestSSPRK3.make"}
    assert all(quoted[name] == real[name] for name in quoted if name in real)
    (toml,) = blocks("docs/plugins.md", "toml")
    assert toml in (EXAMPLE / "pyproject.toml").read_text()
