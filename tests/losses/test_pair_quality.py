"""SimNet's precision, recall and F1, compared with scikit-learn's."""

import pytest
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from weakshot_seg.losses.similarity import pair_quality

SHAPE = (4, 6, 7)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("bias", [-100.0, 0.0, 100.0])
def test_equals_scikit_learn(share: float, bias: float) -> None:
    """Also where one kind of pairs does not occur, or is never predicted."""
    logits, same, counted = torch.randn(*SHAPE, 2), torch.rand(SHAPE) < share, torch.rand(SHAPE) < 0.6
    logits[..., 1] += bias
    quality = pair_quality(logits, same, counted)
    truth, said = same[counted].int().numpy(), logits[counted].argmax(-1).numpy()
    columns = precision_recall_fscore_support(truth, said, labels=[0, 1], zero_division=float("nan"))
    expected = {
        f"{name}_{kind}": torch.tensor(column[index], dtype=torch.float32)
        for name, column in zip(("precision", "recall", "f1"), columns, strict=False)
        for index, kind in enumerate(("dissimilar", "similar"))
    }
    expected["accuracy"] = torch.tensor(accuracy_score(truth, said), dtype=torch.float32)
    torch.testing.assert_close(quality, expected, equal_nan=True)


def test_without_counted_pairs_nothing_is_claimed() -> None:
    quality = pair_quality(torch.randn(*SHAPE, 2), torch.rand(SHAPE) < 0.5, torch.zeros(SHAPE, dtype=torch.bool))
    assert all(value.isnan() for value in quality.values())
