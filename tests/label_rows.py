"""Rows for the tests of judges: one image `s/a` of 1000x1000 pixels, so a pixel is a bin."""

from typing import Any

import pyarrow as pa

from schemas.annotations import Annotations
from stages.base import Judge

IMAGE = {"image_id": "s/a", "shard": "s", "key": "a", "width": 1000, "height": 1000}
_KEY = {"image_id": "s/a", "shard": "s", "source": "model", "label_no": 0}


def text(words: str | None = "a dog on a mat", **columns: Any) -> dict[str, Any]:
    return {**_KEY, "task": "caption", "level": "brief", "text": words, **columns}


def region(x0: float, y0: float, x1: float, y1: float, **columns: Any) -> dict[str, Any]:
    box = {"shape": "box", "x0": x0, "y0": y0, "x1": x1, "y1": y1}
    return {**_KEY, "task": "od", "text": "dog", **box, **columns}


def phrase(words: str | None = "a dog", **columns: Any) -> dict[str, Any]:
    ties = {"text_source": "model", "text_no": 0, "region_source": "model", "region_no": 0}
    return {**_KEY, "phrase": words, "char_start": 0, "char_end": 5, **ties, **columns}


def annotations(**rows: list[dict[str, Any]]) -> Annotations:
    """With the one image, unless `images` says otherwise."""
    return Annotations.of(**{"images": [IMAGE], **rows})


def said(judge: Judge, judged: Annotations) -> list[tuple[Any, ...]]:
    """(label_no, rule, verdict, value to 4 decimals, threshold) of every verdict."""
    return [
        (row["label_no"], row["filter"], row["verdict"], _short(row["value"]), row["threshold"])
        for row in judge.judge(judged).to_pylist()
    ]


def rejection(kind: str, label_no: int, **columns: Any) -> dict[str, Any]:
    """A verdict of an earlier judge that drops a label of the model."""
    earlier = {"filter": "earlier.rule", "verdict": "drop"}
    return {**_KEY, "kind": kind, "label_no": label_no, **earlier, **columns}


def details(verdicts: pa.Table) -> list[tuple[str, int, str, str | None]]:
    columns = ("source", "label_no", "filter", "detail")
    return [tuple(row[name] for name in columns) for row in verdicts.to_pylist()]


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
