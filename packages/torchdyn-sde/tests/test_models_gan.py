"""SDE-GANs: paths that are generated, paths that drive the critic, clipping."""

import itertools

import pytest
import torch
from torch import nn

from torchdyn_core import Fixed, IrregularSeries, OptionError, ShapeError
from torchdyn_sde import SDEGAN, ReversibleHeun
from torchdyn_sde.models.gan import PathCritic
from torchdyn_sde.models.rows_path import RowsPath, filled

DTYPE = torch.float64


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def regular(count=16, rows=6):
    times = torch.linspace(0, 1, rows, dtype=DTYPE).expand(count, rows)
    return IrregularSeries(times, torch.randn(count, rows, 2, dtype=DTYPE).cumsum(1))


def irregular():
    times = torch.rand(4, 6, dtype=DTYPE).sort(1).values
    mask = torch.rand(4, 6, 2) < 0.6
    return IrregularSeries(times, torch.randn(4, 6, 2, dtype=DTYPE), mask, torch.tensor([6, 4, 5, 1]))


def gan(**options):
    return SDEGAN(2, **{"controller": Fixed(steps=10), **options}).to(DTYPE)


@pytest.mark.parametrize("solver", ["sde.midpoint", ReversibleHeun()])
@pytest.mark.parametrize("make", [regular, irregular])
def test_both_losses_reach_what_they_train(make, solver):
    model, series = gan(solver=solver), make()
    model.critic_loss(series).backward()
    assert all(p.grad is None for p in model.generator.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for name, p in model.critic.named_parameters())
    model.generator_loss(series).backward()
    for name, p in model.generator.named_parameters():
        assert p.grad.abs().max() > 0, name


def test_a_step_of_the_critic_lowers_its_loss_on_the_same_batch():
    model, series = gan(), regular()
    optimizer = torch.optim.SGD(model.critic.parameters(), lr=1e-2)

    def loss():
        torch.manual_seed(0)
        return model.critic_loss(series)

    before = loss()
    before.backward()
    optimizer.step()
    assert loss() < before


def test_training_tells_what_is_generated_from_data():
    model, series = gan(), regular(64)
    optimizer = torch.optim.Adam(model.critic.parameters(), lr=1e-2)
    model.clip()
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.critic_loss(series)
        loss.backward()
        optimizer.step()
        model.clip()
    assert loss < -0.05


@pytest.mark.parametrize("adjoint", ["checkpointed", "reversible"])
def test_gradients_are_those_of_the_steps_taken(adjoint):
    """Those of the generator go through the path that drives the critic."""
    series, found = regular(4), []
    model = gan(solver=ReversibleHeun())
    for kind in ("direct", adjoint):
        for part in (model.generator, model.critic):
            part.options["adjoint"] = {"direct": "direct", "checkpointed": "checkpointed"}.get(kind, "reversible")
        torch.manual_seed(1)
        found.append(torch.autograd.grad(model.generator_loss(series), [*model.generator.parameters()]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_clipped_maps_stretch_no_distance():
    model = gan()
    with torch.no_grad():
        for p in model.critic.parameters():
            p.mul_(50.0)
    before = [p.clone() for p in model.generator.parameters()]
    model.clip()
    maps = [module for module in model.critic.modules() if isinstance(module, nn.Linear)]
    assert len(maps) == 5
    for module in maps:
        assert module.weight.abs().sum(1).max() <= 1.0 + 1e-12
        assert module.weight.abs().max() == 1.0 / module.in_features
    assert all(torch.equal(a, b) for a, b in zip(before, model.generator.parameters(), strict=True))


def test_an_imitation_is_seen_as_the_data_are():
    series = irregular()
    made = gan().imitate(series)
    for name in ("times", "mask", "lengths"):
        assert torch.equal(getattr(made, name), getattr(series, name))
    assert made.values.shape == series.values.shape


def test_hidden_values_and_padding_do_not_drive():
    critic, series = PathCritic(2).to(DTYPE), irregular()
    scores = critic(series)
    values = torch.where(series.mask, series.values, 9.0)
    assert torch.equal(critic(IrregularSeries(series.times, values, series.mask, series.lengths)), scores)
    parts = (series.times, series.values, series.mask)
    cut = IrregularSeries(*(part[1:2, :4] for part in parts))
    torch.testing.assert_close(critic(cut)[0], scores[1])
    moved = torch.where(series.mask, series.values + torch.arange(6.0)[:, None], 0.0)
    assert not torch.equal(critic(IrregularSeries(series.times, moved, series.mask, series.lengths)), scores)


def test_the_critic_solves_the_controlled_equation():
    """Where the response is constant, the state is its start plus the response to the whole increment."""
    critic, series = PathCritic(2, hidden_dim=3).to(DTYPE), regular(2)
    response = torch.randn(3, 3, dtype=DTYPE)
    critic.field.diffusion.forward = lambda t, y: response.expand(2, 3, 3)
    rows = filled(series)
    end = critic.start(rows[:, 0]) + (rows[:, -1] - rows[:, 0]) @ response.T
    torch.testing.assert_close(critic(series), critic.score(end)[:, 0])


def test_missing_values_lie_on_the_line_in_time():
    times = torch.tensor([[0.0, 1.0, 4.0, 5.0, 9.0]])
    values = torch.tensor([[7.0, 1.0, 7.0, 3.0, 7.0]])[..., None]
    mask = torch.tensor([[False, True, False, True, False]])[..., None]
    found = filled(IrregularSeries(times, values, mask))
    assert found[0, :, 1].tolist() == [1.0, 1.0, 2.5, 3.0, 3.0]
    none = filled(IrregularSeries(times, values, torch.zeros_like(mask), torch.tensor([3])))
    assert none[0].tolist() == [[0, 0], [1, 0], [4, 0], [4, 0], [4, 0]]


def test_increments_of_rows_add_up():
    path = RowsPath(torch.randn(3, 5, 2, dtype=DTYPE))
    t = torch.tensor([0.0, 0.3, 1.0, 3.999, 4.0], dtype=DTYPE)
    parts = sum(path(a, b) for a, b in itertools.pairwise(t))
    torch.testing.assert_close(parts, path.values[:, 4] - path.values[:, 0])
    assert path.knots(t[0], t[-1]).tolist() == [1.0, 2.0, 3.0]


def test_seeds_repeat_what_is_generated():
    model = gan()
    torch.manual_seed(2)
    first = model.sample(3, [0.0, 0.5, 1.0])
    torch.manual_seed(2)
    assert torch.equal(model.sample(3, [0.0, 0.5, 1.0]), first)
    assert not torch.equal(model.sample(3, [0.0, 0.5, 1.0]), first)


def test_bad_input_is_told():
    with pytest.raises(OptionError, match="takes no option 'save'"):
        gan(save=lambda t, y: y)
    with pytest.raises(OptionError, match="wanted steps="):
        PathCritic(1, controller=Fixed(steps=2))
    with pytest.raises(OptionError, match="wanted a PathCritic"):
        gan(critic=nn.Identity()).clip()
    with pytest.raises(OptionError, match="options of its own"):
        gan(generator=nn.Identity())
    with pytest.raises(OptionError, match="wanted no solver"):
        SDEGAN(2, generator=nn.Identity(), critic=nn.Identity(), solver="sde.midpoint")
    with pytest.raises(ShapeError, match="L >= 2"):
        PathCritic(1)(IrregularSeries(torch.zeros(1, 1), torch.zeros(1, 1, 1)))
    with pytest.raises(ShapeError, match="before t0=0"):
        gan().sample(2, [-1.0, 1.0])
