"""Run the experiments and write their tables: `python -m experiments [--fast] [--only NAME ...]`."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch

from experiments import (
    annuli,
    citations,
    depth,
    flip,
    galerkin,
    kuramoto,
    latent_sde,
    lorenz,
    mnist,
    moving_weights,
    report,
    sde_gradients,
)  # fmt: skip
from experiments.outcome import Outcome

EXPERIMENTS: dict[str, Callable[..., list[Outcome]]] = {
    "flip": flip.run,
    "annuli": annuli.run,
    "galerkin": galerkin.run,
    "moving-weights": moving_weights.run,
    "mnist": mnist.run,
    "citations": citations.run,
    "depth": depth.run,
    "kuramoto": kuramoto.run,
    "sde-gradients": sde_gradients.run,
    "latent-sde": latent_sde.run,
    "lorenz": lorenz.run,
}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description=__doc__)
    parser.add_argument("--fast", action="store_true", help="only try whether everything runs; judge and write nothing")
    parser.add_argument("--only", metavar="NAME", nargs="+", choices=EXPERIMENTS, help="run these, and write theirs")
    arguments = parser.parse_args()
    missed: list[str] = []
    for name in arguments.only or EXPERIMENTS:
        start = time.perf_counter()
        torch.manual_seed(0)
        outcomes = EXPERIMENTS[name](fast=arguments.fast)
        text = report.render(name, outcomes, time.perf_counter() - start)
        print(f"{name}\n\n{text}\n", flush=True)
        if not arguments.fast:
            report.write(name, text)
            missed += [f"{outcome.experiment}: {outcome.what}" for outcome in outcomes if outcome.met is False]
    if missed:
        sys.exit("not met: " + "; ".join(missed))


if __name__ == "__main__":
    main()
