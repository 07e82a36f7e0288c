"""Latent SDEs: the divergence along the path, what the encoder sees, gradients, series of every kind."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Laplace, Normal, kl_divergence

from torchdyn_core import Fixed, IntegrationError, IrregularSeries, OptionError, ShapeError
from torchdyn_sde import LatentSDE, SeriesEncoder
from torchdyn_sde.models.encoder import upcoming

DTYPE = torch.float64


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def regular(count=4, rows=5, channels=2):
    times = torch.linspace(0, 1, rows, dtype=DTYPE).expand(count, rows)
    return IrregularSeries(times, torch.randn(count, rows, channels, dtype=DTYPE))


def irregular():
    times = torch.rand(4, 6, dtype=DTYPE).sort(1).values
    mask = torch.rand(4, 6, 2) < 0.6
    return IrregularSeries(times, torch.randn(4, 6, 2, dtype=DTYPE), mask, torch.tensor([6, 4, 5, 1]))


def latent(**options):
    return LatentSDE(2, 3, **{"hidden_dim": 8, "context_dim": 4, "controller": Fixed(steps=12), **options}).to(DTYPE)


def gradients(model, series, **kind):
    torch.manual_seed(3)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    loss = model.loss(series, **kind)
    return loss.detach(), dict(zip(parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True))


@pytest.mark.parametrize("make", [regular, irregular])
def test_the_divergence_of_drifts_that_differ_by_a_constant_is_exact(make):
    series = make()
    model = latent(
        prior_drift=lambda t, z: -z, posterior_drift=lambda t, z, c: 1.5 - z, diffusion=lambda t, z: 0 * z + 0.5
    )
    last = series.times.gather(1, series.lengths[:, None] - 1)[:, 0]
    torch.testing.assert_close(model(series).logqp, 3 * 0.5 * (1.5 / 0.5) ** 2 * last, rtol=1e-12, atol=0.0)


def test_the_divergence_is_that_of_the_laws_of_discrete_paths():
    """Both are Gaussian walks: the mean divergence of each of Euler's steps follows from the walk's second moment."""
    series = IrregularSeries(torch.tensor([[0.0, 1.0]], dtype=DTYPE), torch.zeros(1, 2, 2, dtype=DTYPE))
    model = LatentSDE(
        2, 1, prior_drift=lambda t, z: -z, posterior_drift=lambda t, z, c: -3.0 * z, diffusion=lambda t, z: 0 * z + 0.8,
        controller=Fixed(steps=5),
    ).to(DTYPE)  # fmt: skip
    mean, variance, expected = 1.0, 0.0, 0.0
    with torch.no_grad():
        model.encoder.start.weight.zero_()
        model.encoder.start.bias.copy_(torch.tensor([mean, -40.0]))
    for _ in range(5):
        expected += 0.2 * 0.5 * (2.0 / 0.8) ** 2 * (mean**2 + variance)
        mean, variance = 0.4 * mean, 0.16 * variance + 0.64 * 0.2
    torch.manual_seed(0)
    many = IrregularSeries(*(part.repeat(20000, *(1,) * (part.dim() - 1)) for part in (series.times, series.values)))
    found = model(many).logqp.detach()
    assert abs(float(found.mean()) - expected) < 4 * float(found.std()) / math.sqrt(20000)


def test_a_posterior_that_is_the_prior_has_no_divergence():
    drift = nn.Linear(3, 3).to(DTYPE)
    model = latent(prior_drift=lambda t, z: drift(z), posterior_drift=lambda t, z, c: drift(z))
    assert model(irregular()).logqp.tolist() == [0.0] * 4


@pytest.mark.parametrize(("likelihood", "law"), [("gaussian", Normal), ("laplace", Laplace)])
def test_the_bound_is_made_of_its_parts(likelihood, law):
    series, model = irregular(), latent(likelihood=likelihood, scale=0.3)
    found, encoded = model(series), model.encoder(series)
    start = kl_divergence(Normal(encoded.mean, encoded.std), Normal(0.0, 1.0)).sum(1)
    seen = law(model.decoder(found.z), 0.3).log_prob(series.values)
    torch.testing.assert_close(found.start_kl, start)
    torch.testing.assert_close(found.log_likelihood, torch.where(series.mask, seen, 0.0).sum((1, 2)), rtol=1e-6, atol=0)
    wanted = found.log_likelihood - 0.2 * (found.logqp + found.start_kl)
    torch.testing.assert_close(found.elbo(0.2), wanted)


@pytest.mark.parametrize("make", [regular, irregular])
def test_gradients_are_those_of_the_steps_taken(make):
    series, model = make(), latent(learn_scale=True)
    value, found = gradients(model, series)
    model.options["adjoint"] = "direct"
    direct, wanted = gradients(model, series)
    assert torch.equal(value, direct)
    assert len(found) == 4 + 2 + 2 + 6 + 6 + 4 + 2 + 3
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-10, atol=1e-12)


def test_compiled_is_eager():
    series, model = regular(), latent()
    value, wanted = gradients(model, series)
    model.options["compile"] = "require"
    compiled, found = gradients(model, series)
    torch.testing.assert_close(compiled, value, rtol=1e-12, atol=0.0)
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-9, atol=1e-10)


def test_what_is_hidden_changes_nothing():
    series, model = irregular(), latent()
    values = torch.where(series.mask, series.values, 7.0)
    value, wanted = gradients(model, series)
    other, found = gradients(model, IrregularSeries(series.times, values, series.mask, series.lengths))
    assert torch.equal(value, other)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_a_series_is_the_same_alone_and_padded():
    encoder = SeriesEncoder(2, 3, context_dim=4).to(DTYPE)
    series = irregular()
    batch = encoder(series)
    for i, length in enumerate(series.lengths.tolist()):
        alone = encoder(IrregularSeries(*(p[i : i + 1, :length] for p in (series.times, series.values, series.mask))))
        torch.testing.assert_close(batch.context[i, :length], alone.context[0])
        torch.testing.assert_close(batch.mean[i], alone.mean[0])


def test_contexts_know_the_present_and_the_future_alone():
    encoder, series = SeriesEncoder(2, 3, context_dim=4).to(DTYPE), regular()
    values = series.values.clone()
    values[:, 2] += 1.0
    moved = (encoder(IrregularSeries(series.times, values)).context - encoder(series).context).abs().sum(2)
    assert (moved[:, 3:] == 0).all()
    assert (moved[:, :3] > 0).all()


def test_the_context_is_the_next_rows():
    times = torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.3, 0.3]])
    rows = nn.functional.pad(torch.arange(1.0, 7.0).reshape(2, 3, 1), (0, 0, 0, 1))
    for t, wanted in ((0.0, [2, 4]), (0.25, [2, 5]), (0.3, [2, 0]), (0.7, [3, 0]), (1.0, [0, 0])):
        assert upcoming(torch.tensor(t).expand(2), times, rows)[:, 0].tolist() == wanted
    shared = upcoming(torch.tensor(0.5), times[0], rows.transpose(0, 1))
    assert shared[:, 0].tolist() == [3.0, 6.0]


def test_steps_that_end_at_rows_see_the_next_one():
    """0.3 is no float32 multiple of a step of 0.1; rounding must not make a context stay a step too long."""
    seen = []

    def drift(t, z, context):
        seen.append((round(float(t), 3), float(context[0, 0])))
        return 0.0 * z

    model = LatentSDE(1, 1, context_dim=1, posterior_drift=drift, controller=Fixed(dt=0.1))
    encoder = model.encoder

    def count(series):
        found = encoder(series)
        return found._replace(context=torch.arange(1.0, 11.0).reshape(1, 10, 1) + 0.0 * found.context)

    model.encoder = None
    model.__dict__["encoder"] = count
    with torch.no_grad():
        model(IrregularSeries(torch.arange(1, 11)[None] * 0.1, torch.zeros(1, 10, 1)))
    assert [pair for pair in dict(seen).items()] == [(round(0.1 * i, 3), i + 1.0) for i in range(10)]


def test_a_seed_repeats_a_posterior_and_a_sample():
    model, series = latent(), irregular()
    for draw in (lambda: model(series).z, lambda: model.sample(3, [0.0, 1.0]), lambda: model.reconstruct(series)):
        torch.manual_seed(5)
        first = draw()
        torch.manual_seed(5)
        assert torch.equal(first, draw())
        assert not torch.equal(first, draw())


@pytest.mark.parametrize("make", [regular, irregular])
def test_reconstructions_have_the_posteriors_law(make):
    model, series = latent(), make()
    paths = model.reconstruct(series, samples=500)
    assert paths.shape == (500, *series.values.shape)
    many = torch.stack([model.decoder(model(series).z) for _ in range(40)])
    close = (paths.mean(0) - many.mean(0)).abs() < 6 * (many.std(0) / 40**0.5 + paths.std(0) / 500**0.5)
    assert close.all()
    assert model.reconstruct(series, [0.0, 0.4, 0.4, 2.0], samples=2).shape == (2, 4, 4, 2)


def test_the_prior_is_sampled_with_its_own_drift():
    model = LatentSDE(
        1, 1, prior_drift=lambda t, z: 2.0 - z, diffusion=lambda t, z: 0 * z + 0.3, decoder=nn.Identity(),
        controller=Fixed(steps=200),
    )  # fmt: skip
    paths = model.sample(4000, [0.0, 3.0])[..., 0].detach()
    assert paths.shape == (4000, 2)
    assert abs(float(paths[:, 1].mean()) - (2.0 - 2.0 * math.exp(-3.0))) < 0.02
    assert abs(float(paths[:, 1].var()) - (0.045 * (1 - math.exp(-6.0)) + math.exp(-6.0))) < 0.006


@pytest.mark.parametrize("make", [regular, irregular])
def test_a_diffusion_of_zero_is_an_error_that_says_so(make):
    model = latent(diffusion=lambda t, z: torch.where(z > 0, z, 0.0))
    with pytest.raises(IntegrationError, match="The diffusion is zero on the path"):
        model.loss(make())


def test_bad_input_is_told():
    for options, message in (
        ({"per_sample": True}, "takes no option 'per_sample'"),
        ({"args": 1}, "takes no option 'args'"),
        ({"likelihood": "poisson"}, "wanted one of gaussian, laplace"),
        ({"scale": 0.0}, "wanted a finite number > 0"),
        ({"hidden_dim": 0}, "hidden_dim=0"),
    ):
        with pytest.raises(OptionError, match=message):
            latent(**options)
    with pytest.raises(ShapeError, match=r"before t0=0\.5"):
        latent(t0=0.5)(regular())
    with pytest.raises(ShapeError, match=r"wanted \(B, L, 2\)"):
        latent()(regular(channels=3))


def test_series_that_end_where_paths_begin_have_no_divergence():
    one = torch.zeros(2, 1, dtype=DTYPE)
    assert latent()(IrregularSeries(one, torch.zeros(2, 1, 2, dtype=DTYPE))).logqp.tolist() == [0.0, 0.0]


def test_training_raises_the_bound():
    series = regular(16)
    model = latent(scale=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(40):
        losses.append(model.loss(series))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
