import numpy as np
import pyarrow as pa
import pytest
from label_rows import annotations, text

from schemas.tables import TABLES
from schemas.verdicts import verdict_rows


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, [0.5, 0.5]), (None, [None, None]), ([0.1, 0.2, 0.3], [0.1, 0.3])],
)
def test_verdicts_carry_value_limit_and_detail_of_their_row(threshold, expected):
    labels = annotations(texts=[text(label_no=no) for no in range(3)]).texts
    found = verdict_rows(
        labels,
        "text",
        np.array([True, False, True]),
        filter="stage.rule",
        verdict="drop",
        values=np.array([0, 1, np.nan]),
        threshold=np.array(threshold) if isinstance(threshold, list) else threshold,
        details=pa.array(["a", "b", "c"]),
    )
    assert found.schema == TABLES["verdicts"]
    assert found["label_no"].to_pylist() == [0, 2]
    assert found["value"].to_pylist() == [0, None]
    assert found["threshold"].to_pylist() == expected
    assert found["detail"].to_pylist() == ["a", "c"]


def test_a_verdict_on_a_human_label_is_a_flag():
    labels = annotations(texts=[text(source="human"), text(source="opinion")]).texts
    rule = {"filter": "f", "verdict": "drop", "values": 1, "threshold": None, "details": None}
    found = verdict_rows(labels, "text", np.array([True, True]), **rule)
    assert found["verdict"].to_pylist() == ["flag", "drop"]
