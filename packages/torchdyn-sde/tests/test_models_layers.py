"""`NeuralSDE`, and the classifier with noise over depth."""

import copy
import math

import pytest
import torch
from torch import nn

from torchdyn_core import Fixed, IncompatibleError, OptionError, ShapeError, autonomous
from torchdyn_sde import ElementwiseDiffusion, EulerMaruyama, Midpoint, NeuralSDE, NeuralSDEClassifier, SDEField
from torchdyn_sde.models.classifier import NoiseInjection

NOISES = ("additive", "multiplicative", "dropout")


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def field(**kind):
    return SDEField(lambda t, y: -y, lambda t, y: 0.5 * torch.ones_like(y), **kind)


def classifier(**options):
    return NeuralSDEClassifier(2, 8, 3, **{"sigma": 0.3, "controller": Fixed(steps=8), **options})


def test_the_method_is_that_of_the_sense():
    assert NeuralSDE(field()).options["solver"] == EulerMaruyama()
    assert NeuralSDE(field(interpretation="stratonovich")).options["solver"] == Midpoint()
    assert NeuralSDE(field()).trajectory(torch.zeros(2, 1), [0.0, 1.0]).stats.steps == 50


def test_samples_have_the_solutions_law_and_rows_their_own_noise():
    torch.manual_seed(0)
    ends = NeuralSDE(field(), controller=Fixed(steps=100)).samples(torch.tensor([[1.0], [-1.0]]), 4000)
    assert ends.shape == (4000, 2, 1)
    means, variance = ends.mean(0)[:, 0], ends.var(0)[:, 0]
    torch.testing.assert_close(means, torch.tensor([1.0, -1.0]) * math.exp(-1.0), rtol=0.0, atol=0.02)
    torch.testing.assert_close(variance, torch.full((2,), 0.125 * (1 - math.exp(-2.0))), rtol=0.08, atol=0.0)
    assert abs(float(torch.corrcoef(ends[..., 0].T)[0, 1])) < 0.06


def test_a_layer_learns_copies_and_repeats():
    net = nn.Linear(2, 2)
    layer = NeuralSDE(SDEField(autonomous(net), ElementwiseDiffusion(2)), controller=Fixed(steps=5))
    y = torch.ones(3, 2)
    torch.manual_seed(1)
    out = layer(y)
    out.sum().backward()
    assert all(p.grad.abs().max() > 0 for p in layer.parameters())
    assert len(list(layer.parameters())) == 6
    torch.manual_seed(1)
    assert torch.equal(copy.deepcopy(layer)(y), out)


def test_what_is_no_stochastic_field_is_refused():
    with pytest.raises(IncompatibleError, match="wanted SDEField"):
        NeuralSDE(lambda t, y: -y)
    with pytest.raises(ShapeError, match=r"wanted a batch"):
        NeuralSDE(field()).samples(torch.zeros(3), 2)


@pytest.mark.parametrize("noise", NOISES)
def test_classes_have_probabilities_and_all_parameters_gradients(noise):
    model = classifier(noise=noise)
    logs = model(torch.randn(5, 2))
    torch.testing.assert_close(logs.exp().sum(1), torch.ones(5))
    nn.functional.nll_loss(logs, torch.tensor([0, 1, 2, 0, 1])).backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("noise", NOISES)
def test_noise_is_on_in_testing_too_and_may_be_turned_off(noise):
    model, x = classifier(noise=noise, samples=3).eval(), torch.randn(5, 2)
    assert not torch.equal(model(x), model(x))
    quiet = model(x, noisy=False)
    assert torch.equal(model(x, noisy=False), quiet)
    torch.testing.assert_close(classifier_without_noise(model)(x), quiet)


def classifier_without_noise(model):
    other = classifier(noise="additive", sigma=0.0, samples=1).eval()
    other.load_state_dict(model.state_dict())
    return other


def test_evaluation_takes_the_mean_of_probabilities():
    model, x = classifier(sigma=1.0, samples=6), torch.randn(4, 2)
    torch.manual_seed(0)
    logs = model.eval()(x)
    torch.manual_seed(0)
    ends = model.sde.samples(model.encoder(x), 6)
    torch.testing.assert_close(logs.exp(), model.head(ends).softmax(-1).mean(0))
    torch.manual_seed(0)
    one = model.train()(x)
    torch.manual_seed(0)
    assert torch.equal(model.eval()(x, samples=1), one)


def test_more_samples_vary_less():
    model, x = classifier(sigma=1.0).eval(), torch.randn(4, 2)
    spread = [torch.stack([model(x, samples=count).exp() for _ in range(20)]).std(0).mean() for count in (1, 64)]
    assert spread[1] < 0.3 * spread[0]


def test_what_is_injected():
    t, y = torch.tensor(0.5), torch.tensor([[1.0, -2.0]])
    drift = lambda t, y: y + 1.0  # noqa: E731
    assert NoiseInjection("additive", 0.3, drift)(t, y)[0].tolist() == pytest.approx([0.3, 0.3])
    assert NoiseInjection("additive", lambda t: 2 * t, drift)(t, y).tolist() == [[1.0, 1.0]]
    assert NoiseInjection("multiplicative", 0.5, drift)(t, y).tolist() == [[0.5, -1.0]]
    assert NoiseInjection("dropout", 0.2, drift)(t, y)[0].tolist() == pytest.approx([1.0, -0.5])
    assert NoiseInjection("dropout", 0.2, drift).silent()(t, y).abs().max() == 0.0


def test_dropout_is_the_limit_of_dropped_residuals():
    """Ten thin residuals, each entry dropped or scaled up, vary as the diffusion says."""
    torch.manual_seed(0)
    drift = lambda t, y: torch.ones_like(y)  # noqa: E731
    layer = NeuralSDE(SDEField(drift, NoiseInjection("dropout", 0.25, drift)), controller=Fixed(steps=10), t1=10.0)
    ends = layer(torch.zeros(20000, 1))
    dropped = ((torch.rand(20000, 10) > 0.25) / 0.75).sum(1)
    assert abs(float(ends.mean() - dropped.mean())) < 0.05
    assert abs(float(ends.std() / dropped.std()) - 1.0) < 0.03


def test_bad_noise_is_told():
    for options, message in (
        ({"noise": "multiplicativ"}, "did you mean 'multiplicative'"),
        ({"sigma": -1.0}, "wanted a number in"),
        ({"noise": "dropout", "sigma": 1.0}, "wanted a number in"),
        ({"noise": "dropout", "sigma": torch.sin}, "wanted a probability"),
        ({"samples": 0}, "samples=0"),
    ):
        with pytest.raises(OptionError, match=message):
            classifier(**options)
    with pytest.raises(OptionError, match="0 < least < start"):
        ElementwiseDiffusion(2, least=0.0)
