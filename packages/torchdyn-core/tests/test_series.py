"""IrregularSeries: the batch type of sequence models."""

import pytest
import torch
from torch.utils.data import DataLoader

from torchdyn_core import IrregularSeries, ShapeError

ROWS = [
    (torch.tensor([0.0, 1.0, 4.0]), torch.ones(3, 2)),
    (torch.tensor([0.5]), torch.zeros(1, 2)),
    (torch.zeros(0), torch.zeros(0, 2)),
]


def test_collate_pads_behind_the_lengths():
    series = IrregularSeries.collate(ROWS)
    assert len(series) == 3
    assert series.lengths.tolist() == [3, 1, 0]
    assert series.times.tolist() == [[0.0, 1.0, 4.0], [0.5, 0.5, 0.5], [0.0, 0.0, 0.0]]
    assert series.mask.sum((1, 2)).tolist() == [6, 2, 0]
    partly = IrregularSeries.collate([(*ROWS[0], torch.tensor([[True, False]] * 3))])
    assert partly.mask[0, :, 1].any().item() is False


def test_it_is_the_collate_function_of_a_loader():
    (batch,) = list(DataLoader(ROWS, batch_size=3, collate_fn=IrregularSeries.collate))
    assert batch.values.shape == (3, 3, 2)
    assert batch.to(torch.float64).values.dtype == batch.to(torch.float64).times.dtype == torch.float64
    assert batch.to("cpu").mask.dtype == torch.bool


def test_missing_values_may_be_anything_where_the_mask_is_false():
    values = torch.tensor([[[1.0], [float("nan")]]])
    with pytest.raises(ShapeError, match="not finite"):
        IrregularSeries(torch.tensor([[0.0, 1.0]]), values)
    assert IrregularSeries(torch.tensor([[0.0, 1.0]]), values, torch.tensor([[[True], [False]]])).mask.sum() == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.zeros(3), torch.zeros(3, 1)), "wanted"),
        ((torch.zeros(2, 3), torch.zeros(2, 4, 1)), "wanted"),
        ((torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2, 1)), "increasing"),
        ((torch.tensor([[0.0, float("nan")]]), torch.zeros(1, 2, 1)), "finite"),
        ((torch.zeros(1, 2), torch.zeros(1, 2, 1), torch.ones(1, 2, 1)), "bool"),
        ((torch.zeros(1, 2), torch.zeros(1, 2, 1), None, torch.tensor([3])), "between"),
        ((torch.zeros(1, 2), torch.zeros(1, 2, 1), None, torch.tensor([1.0])), "long"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, words):
    with pytest.raises(ShapeError, match=words):
        IrregularSeries(*arguments)


def test_rows_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="at least one"):
        IrregularSeries.collate([])
    with pytest.raises(ShapeError, match="wanted"):
        IrregularSeries.collate([(torch.zeros(2), torch.zeros(3, 1))])


def test_order_behind_the_length_does_not_matter():
    times = torch.tensor([[0.0, 1.0, -5.0]])
    assert IrregularSeries(times, torch.zeros(1, 3, 1), lengths=torch.tensor([2])).lengths.tolist() == [2]
