import numpy as np
import pytest

from ssvideo.evaluation.label_splits import few_labels, hold_out

LABELS = np.array([0] * 50 + [1] * 10 + [2] * 3 + [3])


def counts(items: np.ndarray) -> list[int]:
    return np.bincount(LABELS[items], minlength=4).tolist()


def test_hold_out__divides_every_class_alike_and_loses_nothing():
    stay, held = hold_out(LABELS, 0.2, seed=0)
    assert not set(stay) & set(held)
    assert sorted([*stay, *held]) == list(range(len(LABELS)))
    assert counts(held) == [10, 2, 1, 0], 'at least one, but not the only one of a class'


def test_hold_out__depends_on_the_seed_alone():
    first, again, other = (hold_out(LABELS, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_few_labels__are_of_each_class_and_at_least_one():
    assert counts(few_labels(LABELS, 0.1, 0)) == [5, 1, 1, 1]
    assert counts(few_labels(LABELS, 0.01, 0)) == [1, 1, 1, 1]
    assert few_labels(LABELS, 1.0, 0).tolist() == list(range(len(LABELS)))
    assert few_labels(LABELS, 0.1, 0).tolist() != few_labels(LABELS, 0.1, 1).tolist()


@pytest.mark.parametrize('share', [0.0, 1.0, -1])
def test_hold_out__all_or_nothing_is_refused(share):
    with pytest.raises(ValueError, match=r'must lie in \(0, 1\)'):
        hold_out(LABELS, share, 0)


def test_few_labels__none_is_refused():
    with pytest.raises(ValueError, match=r'must lie in \(0, 1\]'):
        few_labels(LABELS, 0.0, 0)
