"""torchsde's methods on our paths, the oracle of ours; where it is installed, as in `nox -s "sde_with(torchsde)"`."""

import importlib.util

import pytest
import torch

import torchdyn_sde
from torchdyn_core import Checkpointed, Direct, Fixed, IncompatibleError, MissingExtraError, solve
from torchdyn_sde import BrownianPath, SDEField, StepDoubling, torchsde_bridge
from torchdyn_sde.compat import torchsde as compat
from torchdyn_sde.testing import sde_problem

D = torch.float64
INSTALLED = importlib.util.find_spec("torchsde") is not None
installed = pytest.mark.skipif(not INSTALLED, reason="torchsde is not installed")

SAME = {
    "EulerMaruyama": ("euler", "ito", ["diagonal", "scalar", "additive", "general", "commutative"]),
    "Milstein": ("milstein", "ito", ["diagonal", "additive"]),
    "SRK": ("srk", "ito", ["additive"]),
    "EulerHeun": ("euler_heun", "stratonovich", ["diagonal", "scalar", "additive", "general", "commutative"]),
    "Heun": ("heun", "stratonovich", ["diagonal", "scalar", "additive", "general", "commutative"]),
    "Midpoint": ("midpoint", "stratonovich", ["diagonal", "scalar", "additive", "general", "commutative"]),
    "MilsteinStratonovich": ("milstein_stratonovich", "stratonovich", ["diagonal", "additive"]),
    "LogODE": ("log_ode", "stratonovich", ["diagonal", "scalar", "additive"]),
    "ReversibleHeun": ("reversible_heun", "stratonovich", ["diagonal", "scalar", "additive", "general", "commutative"]),
}
"""Which of our methods is which of torchsde's, and for which noise; for others they are other schemes."""

KINDS = ["diagonal", "scalar", "additive", "general"]
CASES = [(ours, *case[:2], noise) for ours, case in SAME.items() for noise in case[2]]


def solved(field, y0, solver, path, **options):
    options = {"controller": Fixed(steps=8), "adjoint": Direct(), **options}
    return solve(field.driven_by(path), y0, [0.0, 0.3, 1.0], solver=solver, **options)


def path_of(problem, solver, seed=7, **options):
    g = problem.field.diffusion(torch.tensor(0.0, dtype=D), problem.y0)
    shape = problem.field.noise.shape(problem.y0, g).sizes[0]
    return BrownianPath(0.0, 1.0, tuple(shape), seed=seed, dtype=D, area=solver.area, **options)


@installed
@pytest.mark.parametrize(("ours", "theirs", "sense", "noise"), CASES)
def test_step_for_step_on_one_path(ours, theirs, sense, noise):
    """States, and gradients with respect to state and parameters, agree to rounding."""
    problem = sde_problem(noise, sense, 3)
    solver = getattr(torchdyn_sde, ours)()
    found = []
    for method in (solver, f"sde.torchsde_{theirs}"):
        y0 = problem.y0.clone().requires_grad_()
        ys = solved(problem.field, y0, method, path_of(problem, solver)).ys
        leaves = [y0, *problem.field.parameters()]
        found.append((ys, *torch.autograd.grad(ys.square().sum(), leaves, allow_unused=True)))
    for got, want in zip(*found, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@installed
@pytest.mark.parametrize(
    ("ours", "theirs", "noise", "sense"),
    [
        ("SRK", "srk", "diagonal", "ito"),
        ("SRK", "srk", "scalar", "ito"),
        ("LogODE", "log_ode", "general", "stratonovich"),
    ],
)
def test_other_schemes_converge_to_the_same_path(ours, theirs, noise, sense):
    """Sixteen times as many steps bring them together."""
    problem, solver = sde_problem(noise, sense, 3), getattr(torchdyn_sde, ours)()
    apart = []
    for steps in (8, 128):
        path = path_of(problem, solver, grid=128)
        ends = [
            solved(problem.field, problem.y0, method, path, controller=Fixed(steps=steps)).ys[-1].detach()
            for method in (solver, f"sde.torchsde_{theirs}")
        ]
        apart.append(float((ends[0] - ends[1]).abs().max()))
    assert 1e-9 < apart[1] < 0.2 * apart[0]


@installed
def test_of_scalar_noise_theirs_transposes_the_derivative():
    """A rotation: `dy = (-y1, y0) dW`, whose second order in the noise is `-y (dW^2 - dt) / 2`."""
    field = SDEField(lambda t, y: 0.0 * y, lambda t, y: torch.stack((-y[:, 1], y[:, 0]), 1), noise="scalar")
    y0, path = torch.tensor([[1.0, 0.0]], dtype=D), BrownianPath(0.0, 1.0, (1, 1), seed=1, dtype=D)
    dw = float(path(torch.tensor(0.0), torch.tensor(1.0)))
    first = {}
    for name in ("sde.milstein", "sde.torchsde_milstein"):
        ys = solved(field, y0, name, path, controller=Fixed(steps=1)).ys
        first[name] = float(ys[-1, 0, 0].detach())
    assert first["sde.milstein"] == pytest.approx(1.0 - 0.5 * (dw**2 - 1.0))
    assert first["sde.torchsde_milstein"] == pytest.approx(1.0 + 0.5 * (dw**2 - 1.0))


@installed
def test_they_are_solvers_like_any_other():
    """They replay, carry a state, have their steps doubled, and say what they cannot."""
    problem = sde_problem("diagonal", "stratonovich", 3)
    bridge = torchsde_bridge.TorchsdeReversibleHeun()
    grads = []
    for adjoint in (Direct(), Checkpointed()):
        y0 = problem.y0.clone().requires_grad_()
        ys = solved(problem.field, y0, bridge, path_of(problem, bridge), adjoint=adjoint).ys
        grads.append(torch.autograd.grad(ys[-1].sum(), y0)[0])
    torch.testing.assert_close(*grads, rtol=1e-12, atol=1e-12)
    doubled = solved(problem.field, problem.y0, StepDoubling(torchsde_bridge.TorchsdeHeun()), path_of(problem, bridge))
    assert bool(doubled.ys.isfinite().all())
    with pytest.raises(IncompatibleError, match=r"\(batch, d\)"):
        solve(problem.field, problem.y0[0], [0.0, 1.0], solver=bridge, controller=Fixed(steps=2))


@installed
@pytest.mark.parametrize(
    ("noise", "method"),
    [
        *((noise, method) for noise in KINDS for method in ("euler", "heun", "reversible_heun")),
        ("additive", "srk"),
    ],
)
def test_the_drop_in_is_what_it_stands_for(noise, method):
    """`sdeint` of both libraries, on one motion of torchsde's, with the log-ratio and the state of the method."""
    import torchsde

    sense = "ito" if method in ("euler", "srk") else "stratonovich"
    field = sde_problem(noise, sense, 3).field

    class Both(torch.nn.Module):
        noise_type, sde_type = noise, sense

        def f(self, t, y):
            return field.drift(t, y)

        def g(self, t, y):
            g = field.diffusion(t, y)
            return g.unsqueeze(-1) if noise == "scalar" else torch.diag_embed(g) if g.dim() < self.axes else g

        def h(self, t, y):
            return 0.5 * y

        axes = 2 if noise == "diagonal" else 3

    y0 = sde_problem(noise, sense, 3).y0
    columns = y0.shape[1] + 1 if noise == "diagonal" else Both().g(torch.tensor(0.0, dtype=D), y0).shape[-1]
    bm = torchsde.BrownianInterval(0.0, 1.0, (3, columns), D, entropy=3, levy_area_approximation="space-time")
    ts = torch.tensor([0.0, 0.35, 1.0], dtype=D)
    options = {"bm": bm, "method": method, "dt": 0.125, "logqp": True, "extra": True}
    (ys, ratios, extra), (theirs, their_ratios, their_extra) = (
        library.sdeint(Both(), y0, ts, **options) for library in (compat, torchsde)
    )
    pairs = [(ys, theirs), (ratios, their_ratios), *zip(extra, their_extra, strict=True)]
    for got, want in pairs:
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(INSTALLED, reason="torchsde is installed")
def test_without_it_they_say_how_to_get_it():
    problem = sde_problem("diagonal", "ito", 3)
    with pytest.raises(MissingExtraError, match=r"pip install \"torchdyn-sde\[torchsde\]\""):
        solve(problem.field, problem.y0, [0.0, 1.0], solver="sde.torchsde_euler", controller=Fixed(steps=2))
