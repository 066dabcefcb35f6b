import json

import numpy as np
import pyarrow as pa
import pytest

from schemas.quantiles import count_scores, count_scores_by, lowest_share, lowest_shares

SCORES = np.arange(1, 101) / 100


@pytest.mark.parametrize(
    ("share", "below"),
    [
        pytest.param(0.0199, 1, id="just under two of a SCORES"),
        pytest.param(0.02, 2, id="two of a SCORES"),
        pytest.param(0.5, 50, id="half"),
        pytest.param(0.0099, 0, id="less than one"),
    ],
)
def test_at_most_the_share_lies_below_the_limit(share, below):
    limit = lowest_share([count_scores(SCORES)], share)
    assert ((limit or 0) > SCORES).sum() == below


def test_counts_of_shards_add_up_in_any_order():
    parts = [count_scores(part) for part in np.split(SCORES, 4)]
    stored = [json.loads(json.dumps(part)) for part in reversed(parts)]
    assert lowest_share(stored, 0.1) == lowest_share([count_scores(SCORES)], 0.1)


def test_scores_near_one_are_told_apart():
    scores = 1 - np.geomspace(1e-4, 1e-1, 1000)
    limit = lowest_share([count_scores(scores)], 0.02)
    assert limit is not None
    assert 15 <= (scores < limit).sum() <= 20


@pytest.mark.parametrize("scores", [[], [np.nan], [0.5], [0.5] * 99, [0, 0, 0]])
def test_there_may_be_nothing_below(scores):
    assert lowest_share([count_scores(np.array(scores, dtype=float))], 0.02) is None
    assert lowest_share([], 0.02) is None


def test_odd_scores_are_counted_as_the_nearest_possible():
    assert sum(count_scores(np.array([np.nan, 0, 1, 2, np.inf, -1])).values()) == 5


def test_each_key_has_its_own_limit_where_it_has_scores_enough():
    key = pa.array(["a", "b", None, "a", "b", "a"])
    scores = np.array([0.1, 0.4, 0.01, 0.2, 0.5, 0.3])
    parts = [count_scores_by(key[:3], scores[:3]), count_scores_by(key[3:], scores[3:])]
    assert [sorted(part) for part in parts] == [["a", "b"], ["a", "b"]]
    limits = lowest_shares(parts, 0.34)
    assert 0.1 < limits["a"] < 0.2
    assert limits["b"] is None
    assert list(lowest_shares(parts, 0.34, least=3)) == ["a"]
