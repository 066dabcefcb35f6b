import pyarrow as pa
import pytest

from schemas.keys import LabelKeys


def labels(*keys):
    image, source, number = zip(*keys, strict=True)
    columns = {"image_id": pa.array(image, pa.string()), "source": pa.array(source, pa.string())}
    return pa.table({**columns, "label_no": pa.array(number, pa.int32())})


LABELS = labels(("a", "model", 0), ("a", "model", 7), ("a", "human", 0), ("b", "model", 0))


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (("a", "model", 7), [False, True, False, False]),
        (("b", "model", 0), [False, False, False, True]),
        (("b", "human", 0), [False] * 4),
        (("b", "model", 7), [False] * 4),
        (("a", "model", 8), [False] * 4),
        (("a", "model", -2), [False] * 4),
        (("c", "model", 0), [False] * 4),
        (("a", None, 0), [False] * 4),
        (("a", "model", None), [False] * 4),
    ],
)
def test_a_label_is_found_by_its_whole_key(key, found):
    keys = LabelKeys.of(LABELS)
    assert keys.among(keys.find(labels(key))).tolist() == found


def test_null_is_a_key_like_any_other():
    keys = LabelKeys.of(labels((None, "model", 1), ("a", "model", None), ("a", "model", 0)))
    assert keys.among(keys.find(labels((None, "model", 1)))).tolist() == [True, False, False]
    assert keys.among(keys.find(labels(("a", "model", None)))).tolist() == [False, True, False]


def test_no_label_has_no_key():
    keys = LabelKeys.of(LABELS.slice(0, 0))
    assert keys.among(keys.find(LABELS)).tolist() == []
