"""What one process has compiled, later ones take from torch's cache on disk; and nothing else than that."""

import json
import os
import shutil
import subprocess
import sys

import pytest

COMPILER = next(filter(None, map(shutil.which, ("g++", "c++", "clang++"))), None)
pytestmark = pytest.mark.skipif(COMPILER is None, reason="compiled solves need a C++ compiler")

CODE = """
import json, pathlib, sys
import torch
from torch._dynamo.utils import counters
from torchdyn_core import Fixed, solve
from torchdyn_core.compiled import wide_products
from torchdyn_core.compiled.kernel import Kernel, Shadows

def gradient(rate, compile):
    y0 = torch.tensor([[0.5], [1.0]], dtype=torch.float64, requires_grad=True)
    options = {"solver": "euler", "controller": Fixed(steps=9), "compile": compile}
    solve(lambda t, y: torch.cos(t) - rate * y, y0, [0.0, 1.0], **options).ys[-1].sum().backward()
    return y0.grad

def solved(rate):
    assert torch.allclose(gradient(rate, "require"), gradient(rate, False), rtol=1e-12)

def sized():
    shadows, rows = Shadows(), torch.ones(5, 2)
    kernel = Kernel(lambda x: [x.sum()], shadows, [shadows.of(rows, [True, False])])
    assert float(kernel(rows)[0]) == 10 and float(kernel(rows[:3])[0]) == 6
    return [shadows.admits(shadows.values([torch.empty(size, 2)])) for size in (3, 50, 10_000_000)]

def wide():
    wide_products._mkl_gets_half = lambda: True
    shadows, rows, weight = Shadows(), torch.ones(9, 8), torch.ones(8, 8)
    inputs = [shadows.of(rows, [False, False]), shadows.of(weight, [False, False])]
    return float(Kernel(lambda x, w: [x @ w], shadows, inputs)(rows, weight)[0].sum())

log, seen = pathlib.Path(sys.argv[1]), []
for call in (lambda: solved(2.0), sized, wide, lambda: solved(float(sys.argv[2]))):
    counters.clear()
    log.write_text("")
    result = call()
    found = {name: counters["inductor"]["fxgraph_cache_" + name] for name in ("hit", "miss", "bypass")}
    seen.append({"result": result, "compiled": len(log.read_text().splitlines()), **found})
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """What two processes saw, one behind the other, that share a folder for what torch compiles: of each call, what it
    gave, how often the C++ compiler was called, how many kernels were found on disk or not.
    """
    folder = tmp_path_factory.mktemp("disk")
    log, counting = folder / "log", folder / "g++"
    counting.write_text(f'#!/bin/sh\ncase "$*" in *.cpp*) echo "$*" >> "{log}" ;; esac\nexec "{COMPILER}" "$@"\n')
    counting.chmod(0o755)
    own = {"CXX": str(counting), "TORCHINDUCTOR_CACHE_DIR": str(folder / "torch"), "OMP_NUM_THREADS": "1"}

    def run(rate):
        command = [sys.executable, "-c", CODE, str(log), str(rate)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **own}, timeout=500)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run(2.0), run(3.0)


def test_a_second_process_compiles_nothing(processes):
    kernels = 3  # start, loop, gradient
    (first, *_, again), (second, *_) = processes
    assert first["compiled"] >= kernels == first["miss"]
    assert again == {"result": None, "compiled": 0, "hit": 0, "miss": 0, "bypass": 0}
    assert second == {"result": None, "compiled": 0, "hit": kernels, "miss": 0, "bypass": 0}


def test_a_constant_that_differs_is_compiled(processes):
    _, (*_, other) = processes
    assert other["compiled"] and other["miss"]  # its results were looked at where they were made


def test_what_a_kernel_assumes_of_sizes_is_known_to_a_second_process(processes):
    (_, first, *_), (_, second, *_) = processes
    assert first["miss"] == second["hit"] == 1 and not second["compiled"]
    # how torch adds up depends on how much there is, so that a kernel holds for sizes up to some number
    assert first["result"] == second["result"] == [True, True, False]


def test_products_by_onednn_are_kept_too(processes):
    (_, _, first, _), (_, _, second, _) = processes
    assert first["miss"] == second["hit"] == 1 and not second["compiled"] and not second["bypass"]
    assert first["result"] == second["result"] == 9 * 8 * 8
