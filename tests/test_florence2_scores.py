import numpy as np
import pytest

from stages.florence2.grammar import Instance
from stages.florence2.scores import TokenScores, region_scores, text_scores

NOTHING = -60.0


def box_answer(bins, masses, chosen, end=0.01):
    """Of `<s>`, one label token and a box; `masses` are {bin: probability} per coordinate."""
    rows = np.full((len(bins), 1000), NOTHING, dtype=np.float32)
    for row, mass in zip(rows, masses, strict=True):
        for bin, probability in mass.items():
            row[bin] = np.log(probability)
    count = 2 + len(bins)
    scores = TokenScores(
        chosen=np.log(np.array([1.0, *chosen], dtype=np.float32)),
        end=np.full(count, np.log(end), dtype=np.float32),
        location_positions=np.arange(2, count),
        locations=rows,
    )
    box = Instance("car", "box", (tuple(bins),), (1,), tuple(range(2, count)), 1)
    return box, scores


def test_scores_of_a_box_are_what_the_formulas_say():
    masses = [{100: 0.5, 102: 0.3, 110: 0.1}, {200: 0.8}, {300: 0.8}, {400: 0.8}]
    box, tokens = box_answer((100, 200, 300, 400), masses, [0.9, 0.5, 0.8, 0.8, 0.8], end=0.02)
    scores = region_scores(box, tokens)
    assert scores.location == pytest.approx((0.5 * 0.8**3) ** 0.25, rel=1e-5)
    assert scores.windowed_location == pytest.approx(0.8, rel=1e-5)
    assert scores.label == pytest.approx(0.9, rel=1e-5)
    assert scores.joint == pytest.approx((0.9 * 0.8) ** 0.5, rel=1e-5)
    assert scores.end == pytest.approx(0.02, rel=1e-5)


def test_spread_is_the_deviation_in_bins_over_the_mean_side():
    even = [{99: 0.4, 101: 0.4}, {199: 0.4, 201: 0.4}, {299: 0.4, 301: 0.4}, {499: 0.4, 501: 0.4}]
    box, tokens = box_answer((100, 200, 300, 500), even, [0.9, 0.4, 0.4, 0.4, 0.4])
    assert region_scores(box, tokens).spread == pytest.approx(1 / 250, rel=1e-3)


def test_the_window_stops_at_the_first_and_last_bin():
    masses = [{0: 0.5, 999: 0.5}, {0: 0.5, 3: 0.5}, {999: 0.5, 996: 0.5}, {999: 0.5, 995: 0.5}]
    box, tokens = box_answer((0, 0, 999, 999), masses, [0.9, 0.5, 0.5, 0.5, 0.5])
    assert region_scores(box, tokens).windowed_location == pytest.approx(0.25**0.25, rel=1e-5)


def test_a_point_does_not_divide_by_zero():
    box, tokens = box_answer((5, 5, 5, 5), [{5: 1.0}] * 4, [0.9, 1, 1, 1, 1])
    assert region_scores(box, tokens).spread == pytest.approx(0, abs=1e-6)


def test_a_proposal_is_scored_by_its_place_alone():
    box, tokens = box_answer((1, 2, 3, 4), [{i: 0.5} for i in (1, 2, 3, 4)], [0.9, *[0.5] * 4])
    proposal = Instance("", "box", box.parts, (), box.location_tokens, 2)
    scores = region_scores(proposal, tokens)
    assert scores.label is None
    assert scores.joint == scores.windowed_location == pytest.approx(0.5, rel=1e-5)


def test_a_text_has_its_mean_and_its_weakest_token():
    chosen = np.log(np.array([1.0, 0.5, 0.125], dtype=np.float32))
    tokens = TokenScores(chosen, chosen, np.zeros(0, dtype=np.int64), np.zeros((0, 1000)))
    scores = text_scores((1, 2), tokens)
    assert (scores.score, scores.min_token_score) == pytest.approx((0.25, 0.125))
    nothing = text_scores((), tokens)
    assert (nothing.score, nothing.min_token_score) == (None, None)
