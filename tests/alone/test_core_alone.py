"""Core with nothing optional installed: it works, and says what is missing where something is."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from torchdyn_core import MissingExtraError, NeuralODE, autonomous, solve
from torchdyn_core.testing import SolverSuite, check_plugin


def test_nothing_optional_is_installed():
    optional = ("typer", "rich", "tqdm", "matplotlib", "scipy", "hypothesis", "torchdiffeq")
    assert [name for name in optional if find_spec(name)] == []


def test_it_solves_and_learns():
    layer = NeuralODE(autonomous(torch.nn.Linear(2, 2)))
    layer(torch.ones(3, 2)).sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in layer.parameters())


def test_the_progress_bar_says_what_it_needs():
    with pytest.raises(MissingExtraError, match=r"torchdyn-core\[progress\]"):
        solve(lambda t, y: -y, torch.ones(1), [0.0, 1.0], progress=True)


def test_the_command_line_says_what_it_needs():
    run = subprocess.run(["torchdyn", "list"], capture_output=True, text=True)
    assert run.returncode == 1 and 'pip install "torchdyn-core[cli]"' in run.stderr


def test_the_kit_needs_pytest_alone():
    assert SolverSuite is not None
    check_plugin("core")


def test_importing_core_is_light():
    code = "import sys, torchdyn_core; print(sorted({'pytest', '_pytest', 'torchdyn_core.testing'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
