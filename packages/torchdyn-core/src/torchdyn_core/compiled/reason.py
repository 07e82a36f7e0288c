"""Why something could not be compiled, in a sentence."""

from __future__ import annotations

import re

from torch._dynamo.exc import TorchDynamoException

from torchdyn_core.errors import TorchdynError

__all__ = ["distrust", "distrusted", "explained"]

_miscompiled: list[str] = []


def distrust(error: Exception) -> None:
    """From now on nothing is compiled in this process: a loop was seen to compute something else than it should."""
    _miscompiled.append(str(error))


def distrusted() -> str | None:
    """Why nothing is compiled any more, or None.

    Example:
        >>> distrusted() is None
        True
    """
    return _miscompiled[0] if _miscompiled else None


def explained(error: Exception) -> str:
    """One sentence, and the line of the user's code that it is about."""
    inner = getattr(error, "inner_exception", None)  # Dynamo wraps what its backend raises
    if isinstance(inner, Exception):
        return explained(inner)
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", f"{type(error).__name__}: {error}")
    if missing:
        return (
            f"the field's module {missing[1]!r} is not in sys.modules, where torch's compiler looks for it; wanted it "
            "imported, or entered there before it is executed"
        )
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if "certain side effects happened" in str(error):
        return (
            "the field changes Python objects while it is evaluated (an attribute, a list, a counter), which a "
            "compiled loop would not do in every step; wanted a field without side effects: Solution.stats counts "
            "evaluations"
        )
    head = (
        lines[0]
        if lines and isinstance(error, (TorchdynError, TorchDynamoException))
        else (f"{type(error).__name__}: {lines[0] if lines else ''}")
    )
    because = next((line.removeprefix("Explanation: ") for line in lines if line.startswith("Explanation: ")), "")
    frames = [line for line in lines if line.startswith("File ") and "torchdyn_core" not in line]
    where = f" ({frames[-1]})" if frames else ""
    return f"{head}. {because}{where}".strip()
