"""The order of examples: random, grouped by length, and filled up for several processes."""

from radcap.train.sampler import LengthGroupedSampler


def test_batches_hold_examples_of_similar_length_in_a_new_order_each_epoch() -> None:
    lengths = [7, 1, 5, 3, 8, 2, 6, 4] * 12
    sampler = LengthGroupedSampler(lengths, batch_size=4, seed=1)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(96))
    assert first != second
    spread = [
        max(lengths[i] for i in first[k : k + 4]) - min(lengths[i] for i in first[k : k + 4]) for k in range(0, 96, 4)
    ]
    assert sum(spread) / len(spread) < 2
    # A run that resumes in the second epoch has the order of that epoch. Another seed gives another order.
    assert list(LengthGroupedSampler(lengths, batch_size=4, seed=1, first_epoch=1)) == second
    assert list(LengthGroupedSampler(lengths, batch_size=4, seed=2)) != first


def test_the_last_batch_is_filled_with_rows_from_which_nothing_is_learned() -> None:
    sampler = LengthGroupedSampler([3, 1, 2, 5, 4], batch_size=4, seed=0, multiple_of=4)
    indices = list(sampler)
    assert len(indices) == len(sampler) == 8
    assert sorted(indices[:5]) == list(range(5))
    # Row 1 is the shortest.
    assert indices[5:] == [-2, -2, -2]
