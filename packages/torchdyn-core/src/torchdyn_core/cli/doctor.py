"""Is this installation well? Versions, devices, the compiler, the plugins, and a solve whose answer is known."""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pluggy
import torch

import torchdyn_core
from torchdyn_core import PID, solve
from torchdyn_core.discovery import State
from torchdyn_core.registry import default_registry

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    finding: str
    healthy: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """Look at everything."""
    return [*_versions(), *_devices(), _compiler(), *_plugins(), _solve()]


def _versions() -> Iterator[Finding]:
    yield Finding("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Finding("torchdyn-core", torchdyn_core.__version__)
    yield Finding("torch", torch.__version__, torch.__version__ >= torch.torch_version.TorchVersion("2.13"))
    yield Finding("pluggy", pluggy.__version__)


def _devices() -> Iterator[Finding]:
    yield Finding("cpu", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    for index in range(torch.cuda.device_count()):
        yield Finding(f"cuda:{index}", torch.cuda.get_device_name(index))
    if torch.backends.mps.is_available():
        yield Finding("mps", "available")


def _compiler() -> Finding:
    """The compiler that torch.compile would call; without one everything runs eager."""
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["clang++" if sys.platform == "darwin" else "g++", "c++"]
    for name in names:
        if (path := shutil.which(name)) is not None:
            return Finding("C++ compiler", path)
    return Finding("C++ compiler", f"none (looked for {', '.join(names)}): torch.compile has no CPU back end")


def _plugins() -> Iterator[Finding]:
    for plugin in default_registry().report()[1:]:
        healthy = plugin.state in (State.LOADED, State.DISABLED)
        said = plugin.problem or f"{plugin.origin}, {len(plugin.components)} components"
        yield Finding(f"plugin {plugin.name}", said, healthy)


def _solve() -> Finding:
    """A solve and its gradient; one that breaks is a finding like any other."""
    try:
        error, gradient = _errors_of_decay()
    except Exception as cause:
        return Finding("solve", f"raised {type(cause).__name__}: {cause}", healthy=False)
    said = f"exp(-1) to {error:.0e}, its gradient to {gradient:.0e} (tolerance 1e-8)"
    return Finding("solve", said, error < 1e-6 and gradient < 1e-6)  # one by one: `max` overlooks a nan


def _errors_of_decay() -> tuple[float, float]:
    """Decay over one unit of time: y is exp(-k), its derivative with respect to the rate k is -exp(-k)."""
    rate = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    controller = PID(rtol=1e-8, atol=1e-8)
    y0 = torch.ones((), dtype=torch.float64)
    y1 = solve(lambda t, y, k: -k * y, y0, [0.0, 1.0], args=rate, controller=controller).ys[-1]
    y1.backward()
    assert rate.grad is not None
    return abs(y1.item() - math.exp(-1)), abs(rate.grad.item() + math.exp(-1))
