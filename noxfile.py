"""The verbs of this repository: `python -m nox` runs the default ones, `python -m nox --list` names them all."""

import re
import shutil
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PACKAGES = sorted(path.parent.name for path in ROOT.glob("packages/*/pyproject.toml"))

EXAMPLE = "torchdyn-vanderpol"  # the smallest third-party plugin
# what the benchmarks compare with, beside torchdiffeq
PEERS = ("torchode", "torchsde", "diffrax", "jax", "numpy", "scipy")

# One thread a process: small tensors gain nothing from more, and two test workers would fight over the cores.
# Bytecode is written when a module is first imported (see `install`), whatever the caller's environment says.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONDONTWRITEBYTECODE": ""}


def install(session: nox.Session, *requirements: str) -> None:
    """Install requirements at the tested versions.

    Compiling every file of torch ahead of time takes longer than unpacking it, and most of them are never imported.
    """
    session.install("--no-compile", "-c", "constraints.txt", *requirements)


def with_local_dependencies(package: str) -> list[str]:
    """Name a package of this repository and those of its siblings that it declares, dependencies first."""
    project = tomllib.loads((ROOT / "packages" / package / "pyproject.toml").read_text())["project"]
    declared = [*project.get("dependencies", []), *project.get("optional-dependencies", {}).get("test", [])]
    names = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in declared]
    found: list[str] = []
    for name in names:
        if name in PACKAGES and name != package:
            found += [other for other in with_local_dependencies(name) if other not in found]
    return [*found, package]


def editable(*packages: str, extras: str = "") -> list[str]:
    """Spell `pip install` arguments for packages of this repository; the extras are those of the last one."""
    return [part for name in packages[:-1] for part in ("-e", f"packages/{name}")] + [
        "-e",
        f"packages/{packages[-1]}{extras}",
    ]


def install_everything(session: nox.Session, *tools: str) -> None:
    """Install all packages with what their tests need, each behind those that it depends on, or pip looks for these."""
    ordered = dict.fromkeys(part for name in PACKAGES for part in with_local_dependencies(name))
    install(session, *tools, *(part for name in ordered for part in editable(name, extras="[test]")))


@nox.session
@nox.parametrize("package", [nox.param(name, id=name) for name in PACKAGES])
def tests(session: nox.Session, package: str) -> None:
    """Test one package with nothing installed but what it declares."""
    install(session, *editable(*with_local_dependencies(package), extras="[test]"))
    session.run("pytest", "-n", "2", f"packages/{package}/tests", *session.posargs, env=ENVIRONMENT)


@nox.session
def core_alone(session: nox.Session) -> None:
    """Test core with nothing optional installed."""
    install(session, *editable("torchdyn-core"), "pytest")
    session.run("pytest", "tests/alone", *session.posargs, env=ENVIRONMENT)


@nox.session
@nox.parametrize("library", [nox.param(name, id=name) for name in ("dgl", "pyg")])
def graph_with(session: nox.Session, library: str) -> None:
    """Test torchdyn-graph beside DGL, or beside PyG; `tests` does it beside neither."""
    install(session, *editable(*with_local_dependencies("torchdyn-graph"), extras=f"[test,{library}]"))
    session.run("pytest", "packages/torchdyn-graph/tests", *session.posargs, env=ENVIRONMENT)


@nox.session
@nox.parametrize("library", [nox.param(name, id=name) for name in ("torchsde",)])
def sde_with(session: nox.Session, library: str) -> None:
    """Test torchdyn-sde beside torchsde, whose methods are the oracle of ours; `tests` does it without."""
    install(session, *editable(*with_local_dependencies("torchdyn-sde"), extras=f"[test,{library}]"))
    tests = session.posargs or ["packages/torchdyn-sde/tests/test_torchsde.py"]
    session.run("pytest", *tests, env=ENVIRONMENT)


@nox.session
def together(session: nox.Session) -> None:
    """Test all packages and a stranger's plugin in one environment, where a broken plugin raises."""
    install_everything(session)
    install(session, "-e", f"examples/{EXAMPLE}")
    session.run("pytest", "tests/together", *session.posargs, env={**ENVIRONMENT, "TORCHDYN_STRICT_PLUGINS": "1"})


@nox.session
def third_party(session: nox.Session) -> None:
    """Test the smallest plugin as a stranger would install it: from wheels, into a clean environment."""
    wheels = Path(session.create_tmp()) / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    for source in ("packages/torchdyn-core", f"examples/{EXAMPLE}"):
        session.run("python", "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(wheels), source)
    install(session, "--force-reinstall", "--no-deps", "--find-links", str(wheels), "torchdyn-core", EXAMPLE)
    install(session, "--find-links", str(wheels), f"{EXAMPLE}[test]")
    session.run("pytest", f"examples/{EXAMPLE}/tests", *session.posargs, env=ENVIRONMENT)
    session.run("pytest", "--doctest-modules", "--pyargs", EXAMPLE.replace("-", "_"), env=ENVIRONMENT)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting of the whole repository."""
    install(session, "ruff")
    paths = session.posargs or ["."]
    session.run("ruff", "check", *paths)
    session.run("ruff", "format", "--check", *paths)


@nox.session
def types(session: nox.Session) -> None:
    """Check the type annotations of every package, strictly."""
    install_everything(session, "mypy")
    session.run("mypy", *session.posargs, *(f"packages/{name}/src" for name in PACKAGES), env=ENVIRONMENT)


@nox.session
def doctests(session: nox.Session) -> None:
    """Run the examples that stand in docstrings, one process a package."""
    install_everything(session)
    for name in PACKAGES:
        session.run("pytest", "--doctest-modules", f"packages/{name}/src", *session.posargs, env=ENVIRONMENT)


@nox.session
def tutorials(session: nox.Session) -> None:
    """Run every tutorial, with little training; `-- full` trains as much as a reader would."""
    tools = editable("torchdyn-core", extras="[plot,progress]")
    plugins = editable("torchdyn-augment", "torchdyn-datasets", "torchdyn-graph", "torchdyn-sde")
    install(session, *tools, *plugins, "scikit-learn")
    amount = {} if session.posargs == ["full"] else {"TORCHDYN_TUTORIALS": "fast"}
    with session.chdir(session.create_tmp()):
        for script in sorted((ROOT / "tutorials").glob("[0-9]*.py")):
            session.run("python", str(script), env={**ENVIRONMENT, **amount})


def run_experiments(session: nox.Session, *arguments: str) -> None:
    """Install what the experiments need, and run them."""
    plugins = editable("torchdyn-augment", "torchdyn-datasets", "torchdyn-graph", "torchdyn-sde")
    install(session, *editable("torchdyn-core", extras="[plot]"), *plugins)
    session.run("python", "-m", "experiments", *arguments, env=ENVIRONMENT)


@nox.session
def rehearsal(session: nox.Session) -> None:
    """Try whether every experiment runs, with next to no training; `experiments` runs them in earnest."""
    run_experiments(session, "--fast")


@nox.session(default=False)
def compiled(session: nox.Session) -> None:
    """Try every compiled solve, those of the kit on core's components among them, in an hour; `tests` tries some."""
    install(session, *editable("torchdyn-core", extras="[test]"))
    arguments = session.posargs or ["-k", "compiled"]
    environment = {**ENVIRONMENT, "TORCHDYN_COMPILED_CASES": "all"}
    session.run("pytest", "-n", "2", "packages/torchdyn-core/tests", *arguments, env=environment)


@nox.session(default=False)
def quickstart(session: nox.Session) -> None:
    """Train a neural ODE on real handwritten digits and draw quickstart.png."""
    install(session, *editable("torchdyn-core", extras="[plot,progress]"), "scikit-learn")
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "OMP_NUM_THREADS"}
    session.run("python", "tutorials/00_quickstart.py", *session.posargs, env=environment)


@nox.session(default=False)
def experiments(session: nox.Session) -> None:
    """Reproduce figures of papers and write experiments/README.md; `-- --only NAME` runs and writes one."""
    run_experiments(session, *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure against peers, side by side, and write benchmarks/README.md; `-- --fast` tries it without writing."""
    plugins = editable("torchdyn-datasets", "torchdyn-sde", "torchdyn-graph", extras="[dgl,pyg]")
    install(session, *editable("torchdyn-core", extras="[torchdiffeq,plot]"), *plugins, *PEERS)
    session.run("python", "-m", "benchmarks", *session.posargs, env=ENVIRONMENT)
