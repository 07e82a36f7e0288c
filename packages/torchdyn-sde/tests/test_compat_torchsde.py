"""The drop-in for torchsde: equations of every form, methods by name, motions, log-ratios, gradients, bad input."""

import math
import warnings

import pytest
import torch

from torchdyn_core import Fixed, IncompatibleError, OptionError, ShapeError, TorchdynError, solve
from torchdyn_sde import SDEField
from torchdyn_sde.compat import torchsde
from torchdyn_sde.compat.torchsde import settings

D = torch.float64
B, STATE, NOISES = 4, 3, 2
T = torch.tensor([0.0, 0.2, 0.6, 1.0], dtype=D)
ITO, STRATONOVICH = ["euler", "milstein", "srk"], ["euler_heun", "heun", "midpoint", "log_ode", "reversible_heun"]
COUNTS = {"diagonal": STATE, "scalar": 1, "additive": NOISES, "general": NOISES}


class Net(torchsde.BaseSDE):
    """Drift and diffusion of any kind, with parameters; diagonal diffusions are elementwise."""

    def __init__(self, noise_type, sde_type, seed=0):
        super().__init__(noise_type, sde_type)
        draw = torch.Generator().manual_seed(seed)
        self.rate = torch.nn.Parameter(0.5 + torch.rand(STATE, dtype=D, generator=draw))
        shape = (STATE,) if noise_type == "diagonal" else (STATE, COUNTS[noise_type])
        self.size = torch.nn.Parameter(0.3 * torch.randn(shape, dtype=D, generator=draw))

    def f(self, t, y):
        return torch.sin(t) - self.rate * y

    def g(self, t, y):
        if self.noise_type == "additive":
            return (self.size * (1.0 + t)).expand(y.shape[0], -1, -1)
        bounded = torch.cos(y)
        return self.size * (bounded if self.noise_type == "diagonal" else bounded.unsqueeze(-1))

    def h(self, t, y):
        return -y


def y0(requires_grad=False):
    made = torch.linspace(-1.0, 1.0, B * STATE, dtype=D).reshape(B, STATE)
    return made.requires_grad_(requires_grad)


def motion(noise_type, extra=0, t0=0.0, t1=1.0, **options):
    options = {"entropy": 5, "levy_area_approximation": "foster", "dt": 0.1, **options}
    return torchsde.BrownianInterval(t0, t1, size=(B, COUNTS[noise_type] + extra), dtype=D, **options)


def served(noise_type, sde_type):
    methods = ITO if sde_type == "ito" else [*STRATONOVICH, "milstein"]
    return [m for m in methods if noise_type != "general" or m not in ("milstein", "srk")]


CASES = [(n, s, m) for n in COUNTS for s in ("ito", "stratonovich") for m in served(n, s)]


@pytest.mark.parametrize(("noise_type", "sde_type", "method"), CASES)
def test_every_method_that_serves_an_equation(noise_type, sde_type, method):
    """States at the times asked for, log-ratios between them, with a motion and without, and all of it again."""
    sde, options = Net(noise_type, sde_type), {"method": method, "dt": 0.1}
    with torch.no_grad():
        ys = torchsde.sdeint(sde, y0(), T, motion(noise_type), **options)
        again = torchsde.sdeint(sde, y0(), T.tolist(), motion(noise_type), **options)
        assert ys.shape == (4, B, STATE) and torch.equal(ys, again) and torch.equal(ys[0], y0())
        drawn, ratios = torchsde.sdeint(sde, y0(), T, logqp=True, **options)
    assert drawn.shape == (4, B, STATE) and ratios.shape == (3, B)
    assert bool((ratios > 0.0).all()) and bool(drawn.isfinite().all())


@pytest.mark.parametrize(("sde_type", "method"), [("ito", "euler"), ("stratonovich", "heun")])
def test_ways_to_write_an_equation_are_the_same_equation(sde_type, method):
    whole = Net("general", sde_type)

    def product(t, y, v):
        return (whole.g(t, y) * v.unsqueeze(1)).sum(-1)

    functions = {
        "f": whole.f,
        "g": whole.g,
        "f_and_g": lambda t, y: (whole.f(t, y), whole.g(t, y)),
        "g_prod": product,
        "f_and_g_prod": lambda t, y, v: (whole.f(t, y), product(t, y, v)),
    }
    found = []
    for names in (["f", "g"], ["f_and_g"], ["f", "g_prod"], ["f_and_g_prod"], ["f_and_g", "g_prod"], list(functions)):
        sde = type("Written", (), {"noise_type": "general", "sde_type": sde_type})()
        for name in names:
            setattr(sde, name, functions[name])
        found.append(torchsde.sdeint(sde, y0(), T, motion("general"), method=method, dt=0.1).detach())
    for other in found[1:]:
        assert torch.equal(other, found[0])


@pytest.mark.parametrize(
    ("sde_type", "method", "products"),
    [("ito", "euler", 1), ("stratonovich", "midpoint", 2), ("stratonovich", "heun", 2), ("stratonovich", "log_ode", 0)],
)
def test_products_are_all_that_is_asked_for(sde_type, method, products):
    """Each evaluation of the diffusion costs one product, not one for each noise; gradients reach what it uses."""
    whole, asked = Net("general", sde_type), []

    class Products(torchsde.BaseSDE):
        def __init__(self):
            super().__init__("general", sde_type)
            self.whole = whole

        def f(self, t, y):
            return self.whole.f(t, y)

        def g_prod(self, t, y, v):
            if not torch.compiler.is_compiling():
                asked.append(v.shape)
            return (self.whole.g(t, y) * v.unsqueeze(1)).sum(-1)

    outcomes = []
    for sde, options in (
        (whole, {}),
        (Products(), {}),
        (Products(), {"options": {"compile": "require" if method == "euler" else False}}),
    ):
        start = y0(True)
        ys = torchsde.sdeint(sde, start, T, motion("general", dt=0.25), method=method, dt=0.25, **options)
        outcomes.append((ys, *torch.autograd.grad(ys.square().sum(), [start, *whole.parameters()])))
        if sde is not whole and not options and products:
            assert len(asked) == 1 + 4 * products, "one to see its shape, and four steps"
    for outcome in outcomes[1:]:
        for got, want in zip(outcome, outcomes[0], strict=True):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("noise_type", ["diagonal", "scalar", "additive"])
def test_a_diffusion_known_by_its_products(noise_type):
    sde = Net(noise_type, "ito")

    class Products:
        def f(self, t, y):
            return sde.f(t, y)

        def g_prod(self, t, y, v):
            g = sde.g(t, y)
            return g * v if noise_type == "diagonal" else (g * v.unsqueeze(1)).sum(-1)

    Products.noise_type, Products.sde_type = noise_type, "ito"
    options = {"bm": motion(noise_type), "dt": 0.1}
    want = torchsde.sdeint(sde, y0(), T, **options)
    torch.testing.assert_close(torchsde.sdeint(Products(), y0(), T, **options), want, rtol=1e-12, atol=1e-12)


def test_names_say_what_methods_are_called():
    class Renamed(Net):
        def forward(self, t, y):
            return super().f(t, y)

        f = None

        def prior(self, t, y):
            return super().h(t, y)

    names = {"drift": "forward", "prior_drift": "prior"}
    options = {"bm": motion("diagonal", 1), "logqp": True, "dt": 0.1}
    got = torchsde.sdeint(Renamed("diagonal", "ito"), y0(), T, names=names, **options)
    want = torchsde.sdeint(Net("diagonal", "ito"), y0(), T, **options)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    drift = torchsde.sdeint(Net("diagonal", "ito"), y0(), T, names={"drift": "h"}, **options)
    assert not bool(drift[1].any()), "of a drift that is the prior one the log-ratio is nothing"
    with pytest.raises(OptionError, match="did you mean 'drift'"):
        torchsde.sdeint(Net("diagonal", "ito"), y0(), T, names={"drft": "h"})


@pytest.mark.parametrize("noise_type", COUNTS)
def test_log_ratios_are_integrals_of_the_distance_of_drifts(noise_type):
    """Half the square of `u`, the least one with `g u = f - h`; Euler's method takes it where steps begin."""
    sde, ts = Net(noise_type, "ito"), torch.linspace(0.0, 1.0, 11, dtype=D)
    with torch.no_grad():
        ys, ratios = torchsde.sdeint(sde, y0(), ts, motion(noise_type), method="euler", dt=0.1, logqp=True)
        for place, (t, y) in enumerate(zip(ts[:-1], ys[:-1], strict=True)):
            g, off = sde.g(t, y), sde.f(t, y) - sde.h(t, y)
            if noise_type == "diagonal":
                u = off / g
            else:
                u = torch.linalg.lstsq(g, off.unsqueeze(-1), driver="gelsd").solution.squeeze(-1)
            torch.testing.assert_close(ratios[place], 0.05 * u.square().sum(1), rtol=1e-8, atol=1e-10)
        plain = torchsde.sdeint(sde, y0(), ts, motion(noise_type), method="euler", dt=0.1)
    torch.testing.assert_close(ys, plain, rtol=1e-12, atol=1e-12)


def test_defaults_are_torchsdes():
    for sde_type, noise_type, method in (
        *(("ito", noise, "srk") for noise in ("diagonal", "scalar", "additive")),
        ("ito", "general", "euler"),
        ("stratonovich", "general", "midpoint"),
    ):
        sde = Net(noise_type, sde_type)
        torch.manual_seed(0)
        default = torchsde.sdeint(sde, y0(), T, dt=0.1)
        torch.manual_seed(0)
        assert torch.equal(torchsde.sdeint(sde, y0(), T, method=method, dt=0.1), default)


def test_it_is_the_solve_that_the_readme_says():
    sde = Net("scalar", "stratonovich")
    field = SDEField(sde.f, lambda t, y: sde.g(t, y).squeeze(-1), noise="scalar", interpretation="stratonovich")
    torch.manual_seed(3)
    want = solve(field, y0(), T, solver="sde.heun", controller=Fixed(dt=0.1)).ys
    torch.manual_seed(3)
    assert torch.equal(torchsde.sdeint(sde, y0(), T, method="heun", dt=0.1), want)


@pytest.mark.parametrize(
    ("noise_type", "sde_type", "method"),
    [("diagonal", "ito", "milstein"), ("scalar", "ito", "srk"), ("general", "stratonovich", "midpoint")],
)
def test_gradients_are_those_of_finite_differences(noise_type, sde_type, method):
    sde, bm = Net(noise_type, sde_type), motion(noise_type)

    def loss(start, rate, size):
        ys, ratios = torch.func.functional_call(Run(sde, bm, method), {"sde.rate": rate, "sde.size": size}, (start,))
        return ys.square().sum() + ratios.sum()

    torch.autograd.gradcheck(loss, (y0(True), *sde.parameters()), eps=1e-6, atol=1e-6, rtol=1e-6)


class Run(torch.nn.Module):
    def __init__(self, sde, bm, method):
        super().__init__()
        self.sde, self.bm, self.method = sde, bm, method

    def forward(self, start):
        return torchsde.sdeint(self.sde, start, T, self.bm, method=self.method, dt=0.2, logqp=True)


@pytest.mark.parametrize("noise_type", COUNTS)
def test_undone_steps_have_the_gradient_of_the_steps(noise_type):
    grads = []
    for integrate in (torchsde.sdeint, torchsde.sdeint_adjoint):
        sde, start = Net(noise_type, "stratonovich"), y0(True)
        ys, ratios, extra = integrate(
            sde, start, T, motion(noise_type), method="reversible_heun", dt=0.1, logqp=True, extra=True
        )
        loss = ys.square().sum() + ratios.sum() + sum(part.square().sum() for part in extra)
        grads.append(torch.autograd.grad(loss, [start, *sde.parameters()]))
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("noise_type", "sde_type", "method", "adjoint_method"),
    [
        ("diagonal", "ito", "srk", None),
        ("scalar", "ito", "milstein", "euler"),
        ("additive", "ito", None, None),
        ("general", "ito", None, None),
        ("general", "stratonovich", None, None),
        ("diagonal", "stratonovich", "log_ode", "milstein"),
    ],
)
@pytest.mark.parametrize("logqp", [False, True])
def test_the_continuous_adjoint_comes_near_the_gradient_of_the_steps(
    noise_type, sde_type, method, adjoint_method, logqp
):
    """And nearer with smaller steps: it is off by what two solves are off."""
    off = []
    for dt in (2.0**-3, 2.0**-7):
        grads = []
        for integrate, options in (
            (torchsde.sdeint, {}), (torchsde.sdeint_adjoint, {"adjoint_method": adjoint_method}),
        ):  # fmt: skip
            sde, start = Net(noise_type, sde_type), y0(True)
            bm = motion(noise_type, dt=2.0**-7, entropy=1)
            found = integrate(sde, start, [0.0, 0.25, 0.5], bm, method=method, dt=dt, logqp=logqp, **options)
            ys, ratios = found if logqp else (found, torch.zeros(1))
            grads.append(torch.autograd.grad(ys.square().sum() + ratios.sum(), [start, *sde.parameters()]))
        flat = [torch.cat([grad.flatten() for grad in found]) for found in grads]
        off.append(float((flat[0] - flat[1]).abs().max() / flat[0].abs().max()))
    assert off[1] < 0.1 and off[1] < 0.6 * off[0]


def test_backward_steps_are_chosen_from_their_errors():
    grads = []
    for options in ({"dt": 2.0**-8}, {"adjoint_adaptive": True, "adjoint_rtol": 1e-2, "adjoint_atol": 1e-2, "dt": 0.1}):
        sde, start = Net("diagonal", "stratonovich"), y0(True)
        bm = motion("diagonal", dt=None, halfway_tree=True, tol=1e-6)
        ys = torchsde.sdeint_adjoint(sde, start, [0.0, 0.5], bm, method="heun", adjoint_method="euler_heun", **options)
        grads.append(torch.autograd.grad(ys.sum(), start)[0])
    torch.testing.assert_close(grads[1], grads[0], rtol=0.2, atol=0.1)


def test_adjoint_methods_that_do_not_go_together():
    def integrate(noise_type, sde_type, **options):
        torchsde.sdeint_adjoint(Net(noise_type, sde_type), y0(), T, dt=0.2, **options)

    for noise_type, sde_type, options, says in (
        ("diagonal", "stratonovich", {"adjoint_method": "adjoint_reversible_heun"}, "wanted method='reversible_heun'"),
        ("diagonal", "ito", {"adjoint_method": "srk"}, "entries of a diffusion"),
        ("general", "ito", {"adjoint_method": "milstein"}, "does not serve"),
        ("diagonal", "ito", {"adjoint_options": {"grad_free": True}}, "grad_free"),
    ):
        with pytest.raises(OptionError, match=says):
            integrate(noise_type, sde_type, **options)
    with pytest.warns(UserWarning, match="not undone"):
        integrate("diagonal", "stratonovich", method="reversible_heun", adjoint_method="midpoint")


@pytest.mark.parametrize("noise_type", COUNTS)
@pytest.mark.parametrize("bm", [True, False])
def test_a_solve_goes_on_from_the_state_of_its_method_and_comes_back(noise_type, bm):
    sde, given = Net(noise_type, "stratonovich"), motion(noise_type, halfway_tree=True, dt=None, tol=1e-6)
    options = {"method": "reversible_heun", "dt": 0.1, "bm": given}
    whole, state = torchsde.sdeint(sde, y0(), [0.0, 0.5, 1.0], extra=True, **options)
    first, middle = torchsde.sdeint(sde, y0(), [0.0, 0.5], extra=True, **options)
    rest, end = torchsde.sdeint(sde, first[-1], [0.5, 1.0], extra=True, extra_solver_state=middle, **options)
    for got, want in zip((rest[-1], *end), (whole[-1], *state), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    if bm:
        return
    minus = type("Minus", (), {"noise_type": noise_type, "sde_type": "stratonovich"})()
    minus.f, minus.g = (lambda t, y: -sde.f(-t, y)), (lambda t, y: -sde.g(-t, y))
    f, g, z = state
    options["bm"] = torchsde.ReverseBrownian(given)
    back = torchsde.sdeint(minus, whole[-1], [-1.0, -0.5, 0.0], extra_solver_state=(-f, -g, z), **options)
    torch.testing.assert_close(back.flip(0), whole, rtol=1e-9, atol=1e-9)


def test_states_that_no_method_keeps():
    sde = Net("diagonal", "ito")
    assert torchsde.sdeint(sde, y0(), T, dt=0.2, extra=True)[1] == ()
    torchsde.sdeint(sde, y0(), T, dt=0.2, extra_solver_state=())
    with pytest.raises(OptionError, match="reversible_heun"):
        torchsde.sdeint(sde, y0(), T, dt=0.2, extra_solver_state=(y0(),))


@pytest.mark.parametrize(
    ("noise_type", "sde_type", "method"),
    [("diagonal", "ito", "milstein"), ("additive", "ito", "euler"), ("scalar", "stratonovich", "euler_heun"),
     ("general", "stratonovich", "reversible_heun")],
)  # fmt: skip
def test_steps_chosen_from_their_errors(noise_type, sde_type, method):
    """Tighter tolerances come nearer to small steps on the same motion."""
    sde = Net(noise_type, sde_type)
    options = {"method": method, "bm": motion(noise_type, dt=None, halfway_tree=True, tol=1e-6)}
    with torch.no_grad():
        fine = torchsde.sdeint(sde, y0(), [0.0, 0.5], dt=2.0**-10, **options)[-1]
        off = [
            torchsde.sdeint(sde, y0(), [0.0, 0.5], dt=0.1, adaptive=True, rtol=tol, atol=tol, **options)[-1] - fine
            for tol in (1e-1, 3e-3)
        ]
    assert float(off[1].abs().max()) < min(3e-2, float(off[0].abs().max()))


def test_steps_of_the_smallest_size_are_taken_with_a_warning():
    options = {"adaptive": True, "rtol": 1e-9, "atol": 1e-9, "dt": 0.1, "dt_min": 0.05, "method": "milstein"}
    with pytest.warns(UserWarning, match=r"dt_min=0.05"), torch.no_grad():
        ys = torchsde.sdeint(Net("diagonal", "ito"), y0(), T, motion("diagonal"), **options)
    assert bool(ys.isfinite().all())


def test_adaptive_steps_of_eulers_method_are_warned_of():
    for noise_type in ("diagonal", "general", "scalar"):
        with pytest.warns(UserWarning, match="another solution"), torch.no_grad():
            options = {"method": "euler", "adaptive": True, "rtol": 0.3, "atol": 0.3, "dt": 0.2}
            torchsde.sdeint(Net(noise_type, "ito"), y0(), T, **options)


def test_a_diffusion_that_is_not_what_it_says_is_warned_of():
    mixing = torch.nn.Linear(STATE, STATE, dtype=D)

    class Mixed(Net):
        def g(self, t, y):
            return torch.tanh(mixing(y))

    with pytest.warns(UserWarning, match="other entries"):
        torchsde.sdeint(Mixed("diagonal", "ito"), y0(), T, dt=0.2)

    class Dependent(Net):
        def g(self, t, y):
            return y.unsqueeze(-1) * self.size

    with pytest.warns(UserWarning, match="depends on the state"):
        torchsde.sdeint(Dependent("additive", "ito"), y0(), T, dt=0.2)


def test_differences_stand_for_derivatives():
    for sde_type in ("ito", "stratonovich"):
        sde, bm = Net("diagonal", sde_type), motion("diagonal", dt=2.0**-9)
        ends = [
            torchsde.sdeint(sde, y0(), T, bm, method="milstein", dt=2.0**-9, options={"grad_free": free})[-1]
            for free in (True, False)
        ]
        assert 0.0 < float((ends[0] - ends[1]).abs().max().detach()) < 1e-3


def test_a_solve_compiles():
    outcomes = []
    for compile in ("require", False):
        sde, start = Net("diagonal", "stratonovich"), y0(True)
        options = {"method": "heun", "dt": 0.1, "options": {"compile": compile}}
        ys = torchsde.sdeint(sde, start, T, motion("diagonal"), **options)
        outcomes.append((ys, *torch.autograd.grad(ys.square().sum(), [start, *sde.parameters()])))
    for got, want in zip(*outcomes, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


class TestMotions:
    @pytest.mark.parametrize("area", ["none", "space-time", "davie", "foster"])
    @pytest.mark.parametrize("size", [(), (5,), (5, 2)])
    def test_shapes_and_repetition(self, area, size):
        first, second = (
            torchsde.BrownianInterval(0.0, 2.0, size=size, dtype=D, entropy=9, levy_area_approximation=area)
            for _ in range(2)
        )
        w, u, a = first(0.3, 1.1, return_U=True, return_A=True)
        assert w.shape == size and (u is None) == (area == "none") and (a is None) == (area in ("none", "space-time"))
        second(1.0, 2.0)
        for got, want in zip((w, u, a), second(0.3, 1.1, return_U=True, return_A=True), strict=True):
            assert got is want is None or torch.equal(got, want)
        if a is not None:
            assert a.shape == (*size, *size[-1:]) if len(size) > 1 else a.shape == size
            if len(size) > 1:
                assert torch.equal(a, -a.transpose(-1, -2)) and bool(a[..., 0, 1].all())
        assert torch.equal(first(0.5), first(0.0, 0.5)) and not bool(first(0.7, 0.7).any())

    @pytest.mark.parametrize("options", [{}, {"dt": 0.1}, {"halfway_tree": True, "tol": 1e-6}])
    def test_parts_add_up(self, options):
        bm = torchsde.BrownianInterval(
            0.0, 1.0, size=(50,), dtype=D, entropy=2, levy_area_approximation="space-time", **options
        )
        (w, u), (w1, u1), (w2, u2) = (bm(*span, return_U=True) for span in ((0.2, 0.9), (0.2, 0.55), (0.55, 0.9)))
        torch.testing.assert_close(w1 + w2, w, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(u1 + u2 + 0.35 * w1, u, rtol=1e-7, atol=1e-7)

    def test_given_ends_are_met_and_what_lies_between_is_a_bridge(self):
        n = 20_000
        w, h = torch.full((n,), 1.5, dtype=D), torch.full((n,), -0.4, dtype=D)
        bm = torchsde.BrownianInterval(0.0, 2.0, W=w, H=h, entropy=4, levy_area_approximation="space-time")
        whole, area = bm(0.0, 2.0, return_U=True)
        torch.testing.assert_close(whole, w, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(area / 2.0 - 0.5 * whole, h, rtol=1e-12, atol=1e-12)
        (w1, u1), (w2, u2) = bm(0.0, 0.5, return_U=True), bm(0.5, 2.0, return_U=True)
        torch.testing.assert_close(w1 + w2, w, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(u1 + u2 + 1.5 * w1, area, rtol=1e-7, atol=1e-7)
        # at a = 1/4 of the span, given both: mean a w + 6 a (1 - a) h, variance a (1 - a) (1 - 3 a (1 - a)) T
        assert float(w1.mean()) == pytest.approx(0.25 * 1.5 + 6 * 0.25 * 0.75 * -0.4, abs=0.015)
        assert float(w1.var()) == pytest.approx(0.25 * 0.75 * (1 - 3 * 0.25 * 0.75) * 2.0, rel=0.05)

    @pytest.mark.parametrize("area", ["davie", "foster"])
    def test_levy_areas_have_their_variance(self, area):
        """Of a span `T`, `T^2 / 4`, given that its mean is that of increments and space-time areas."""
        bm = torchsde.BrownianInterval(0.0, 2.0, (40_000, 2), D, entropy=1, levy_area_approximation=area)
        w, u, a = bm(0.0, 2.0, return_U=True, return_A=True)
        h = u / 2.0 - 0.5 * w
        mean = h[:, 0] * w[:, 1] - w[:, 0] * h[:, 1]
        left = a[:, 0, 1] - mean
        assert float(a[:, 0, 1].var()) == pytest.approx(1.0, rel=0.05)
        assert abs(float((left * mean).mean())) < 0.01
        if area == "foster":
            large = h.square().sum(1) > 0.5
            for these in (large, ~large):
                want = 0.2 + 0.4 * float(h[these].square().sum(1).mean())
                assert float(left[these].var()) == pytest.approx(want, rel=0.05)

    def test_a_motion_takes_the_steps_of_the_first_solve_and_keeps_them(self):
        sde, options = Net("diagonal", "ito"), {"method": "euler", "dt": 0.125}
        free, hinted = motion("diagonal", dt=None), motion("diagonal", dt=0.125)
        asked = motion("diagonal", dt=None)
        before = asked(0.25, 0.5)
        got, want, other = (torchsde.sdeint(sde, y0(), [0.0, 1.0], bm, **options) for bm in (free, hinted, asked))
        assert torch.equal(got, want) and not torch.equal(got, other)
        assert torch.equal(free(0.25, 0.5), hinted(0.25, 0.5)) and torch.equal(asked(0.25, 0.5), before)
        again = torchsde.sdeint(sde, y0(), [0.0, 1.0], free, method="euler", dt=0.0625)
        assert not torch.equal(again, got) and torch.equal(free(0.25, 0.5), hinted(0.25, 0.5))

    def test_values_start_where_they_were_told(self):
        w0, w1 = torch.full((6, 2), 3.0), torch.full((6, 2), -1.0)
        tree = torchsde.BrownianTree(torch.tensor(0.0), w0, torch.tensor(2.0), w1, entropy=1)
        assert torch.equal(tree(0.0), w0) and torch.allclose(tree(2.0), w1, atol=1e-6)
        torch.testing.assert_close(tree(1.5) - tree(0.5), tree(0.5, 1.5))
        path = torchsde.BrownianPath(1.0, w0)
        assert torch.equal(path(1.0), w0) and path.shape == path.size() == (6, 2)
        torch.testing.assert_close(path(1.25, 1.5), path(1.5) - path(1.25))
        like = torchsde.brownian_interval_like(w0.double(), entropy=3)
        assert (like.dtype, like.shape, like.entropy) == (D, (6, 2), 3)

    def test_torchs_generator_draws_seeds(self):
        seeds = []
        for _ in range(2):
            torch.manual_seed(8)
            seeds.append([torchsde.BrownianInterval(size=(1,)).entropy for _ in range(2)])
        assert seeds[0] == seeds[1] and seeds[0][0] != seeds[0][1]

    def test_times_beyond_the_span_are_its_ends_with_a_warning(self):
        bm = torchsde.BrownianInterval(0.0, 1.0, size=(3,), entropy=0)
        with pytest.warns(UserWarning, match="tb=1.5 is outside"):
            assert torch.equal(bm(0.5, 1.5), bm(0.5, 1.0))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            bm(0.0, 1.0 + 1e-8)
        with pytest.raises(ShapeError, match="ta <= tb"):
            bm(0.6, 0.5)

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            ({"t0": 2.0}, "t0 <= t1"),
            ({"t0": "0"}, "wanted a number"),
            ({"tol": -1.0}, "tol"),
            ({"halfway_tree": True}, "> 0"),
            ({"halfway_tree": True, "tol": 1e-3, "dt": 0.1}, "halfway_tree"),
            ({"levy_area_approximation": "fost"}, "foster"),
            ({"size": None}, "neither size"),
            ({"W": torch.zeros(4)}, "sizes"),
            ({"W": torch.zeros(3), "dtype": D}, "dtypes"),
            ({"H": torch.zeros(3, dtype=torch.long)}, "floating"),
        ],
    )
    def test_options_that_make_no_sense(self, options, says):
        with pytest.raises(ValueError, match=says) as raised:
            torchsde.BrownianInterval(**{"size": (3,), **options})
        assert isinstance(raised.value, TorchdynError)


def lacking(*names):
    sde = Net("diagonal", "ito")
    return type("Lacking", (), {"noise_type": "diagonal", "sde_type": "ito", **{n: getattr(sde, n) for n in names}})()


@pytest.mark.parametrize(
    ("sde", "options", "says"),
    [
        (Net("diagonal", "ito"), {"method": "blah"}, "method='blah'"),
        (Net("diagonal", "ito"), {"method": "heun"}, "'euler', 'milstein', 'srk'"),
        (Net("general", "ito"), {"method": "srk"}, "one of 'euler'$"),
        (Net("diagonal", "stratonovich"), {"method": "adjoint_reversible_heun"}, "only be an adjoint_method"),
        (Net("diagonal", "ito"), {"options": {"grad_fre": True}}, "did you mean 'grad_free'"),
        (Net("diagonal", "ito"), {"options": {"compile": True}, "bm": motion("diagonal"), "dt": 0.2}, "steps of 0.1"),
        (Net("diagonal", "ito"), {"ts": [0.0, 1.0, 0.5]}, "strictly increase"),
        (Net("diagonal", "ito"), {"ts": "01"}, "list or tuple"),
        (Net("diagonal", "ito"), {"y0": torch.ones(3, dtype=D)}, r"\(batch, d\)"),
        (Net("diagonal", "ito"), {"y0": [1.0]}, "y0 is list"),
        (Net("diagonal", "ito"), {"bm": motion("general")}, "numbers of noises"),
        (Net("diagonal", "ito"), {"bm": torchsde.BrownianInterval(size=(2, 3), dtype=D)}, r"\(batch, m\)"),
        (Net("diagonal", "ito"), {"bm": motion("diagonal", levy_area_approximation="none")}, "space-time"),
        (Net("diagonal", "ito"), {"dt": torch.tensor(0.1, requires_grad=True)}, "dt requires a gradient"),
        (lacking("g"), {}, "no drift"),
        (lacking("f"), {}, "no diffusion"),
        (type("Untyped", (), {"sde_type": "ito"})(), {}, "no noise_type"),
        (type("Typo", (), {"noise_type": "diagnal", "sde_type": "ito"})(), {}, "did you mean 'diagonal'"),
    ],
)
def test_what_cannot_be_is_a_value_error_of_ours(sde, options, says):
    options = {"sde": sde, "y0": y0(), "ts": T, **options}
    with pytest.raises(ValueError, match=says) as raised:
        torchsde.sdeint(**options)
    assert isinstance(raised.value, TorchdynError)


def test_shapes_that_do_not_fit():
    class Wide(Net):
        def f(self, t, y):
            return torch.cat((y, y), 1)

    with pytest.raises(ShapeError, match="'f' returned"):
        torchsde.sdeint(Wide("diagonal", "ito"), y0(), T)

    class Columns(Net):
        def g(self, t, y):
            return torch.ones(B, STATE, 2, dtype=D)

    for noise_type, says in (("diagonal", "the state's shape"), ("scalar", "wanted one")):
        with pytest.raises(ShapeError, match=says):
            torchsde.sdeint(Columns(noise_type, "ito"), y0(), T)
    with pytest.raises(AttributeError, match="prior drift"):
        torchsde.sdeint(lacking("f", "g"), y0(), T, logqp=True)
    with pytest.raises(IncompatibleError, match="wanted bm"):
        sde = lacking("f")
        sde.g_prod = lambda t, y, v: v
        torchsde.sdeint(sde, y0(), T)


def test_arguments_that_nobody_takes_are_warned_of():
    for integrate in (torchsde.sdeint, torchsde.sdeint_adjoint):
        with pytest.warns(UserWarning, match="no 'rtoll'"):
            options = {"method": "reversible_heun", "dt": 0.5, "rtoll": 1e-3}
            integrate(Net("diagonal", "stratonovich"), y0(), T, **options)


def test_names_are_where_torchsde_has_them():
    assert settings.METHODS.log_ode_midpoint == "log_ode" and "srk" in settings.METHODS
    assert list(settings.NOISE_TYPES) == settings.NOISE_TYPES.all() == ["additive", "diagonal", "general", "scalar"]
    with pytest.raises(ValueError, match="sde_type"):
        torchsde.BaseSDE("diagonal", "Ito")
    assert torchsde.SDEIto("general").sde_type == "ito"
    assert math.isclose(torchsde.BrownianInterval(size=(1,), dt=0.25).dt, 0.25)
