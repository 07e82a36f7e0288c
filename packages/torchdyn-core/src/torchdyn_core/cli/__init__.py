"""The command line, `torchdyn`: what is installed, what it is called, whether it works."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line, or say how to install what it needs."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as missing:
        sys.exit(f'torchdyn needs {missing.name}: pip install "torchdyn-core[cli]"')
    from torchdyn_core.cli.app import app
    from torchdyn_core.cli.output import keep_stdout

    keep_stdout()
    app()
