"""Parsed answers about one image → rows of texts, regions, phrases and problems."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.annotations import Annotations
from schemas.boxes import bins_to_pixels
from schemas.ids import local_id
from schemas.tables import MODEL
from stages.florence2.engine import Result
from stages.florence2.grammar import Instance
from stages.florence2.prompts import CAPTION_LEVELS, TASKS
from stages.florence2.scores import RegionScores, region_scores, text_scores
from stages.florence2.spans import phrase_spans
from stages.florence2.vocabulary import Vocabulary

Row = dict[str, Any]
MOST_REMARKS = 8
LONGEST_DETAIL = 80
"""The payload holds the whole answer; the detail names the first things that were cut."""


def answers_to_rows(
    image: Row, size: tuple[int, int], results: Sequence[Result], vocabulary: Vocabulary
) -> Annotations:
    """`image` has the columns image_id and shard; `size` is width, height in pixels.

    `label_no` runs from 0 in each table, in the order of `results`.
    """
    rows = _Rows(image, size)
    # Texts first: a grounded phrase points to its caption, wherever the two tasks stand.
    for result in results:
        if TASKS[result.request.task].output == "text":
            rows.add_text(result)
    for result in results:
        if TASKS[result.request.task].output != "text":
            rows.add_regions(result)
    for result in results:
        rows.add_problem(result, vocabulary)
    return Annotations.of(
        texts=rows.texts, regions=rows.regions, phrases=rows.phrases, problems=rows.problems
    )


@dataclass(slots=True)
class _Rows:
    image: Row
    size: tuple[int, int]
    texts: list[Row] = field(default_factory=list)
    regions: list[Row] = field(default_factory=list)
    phrases: list[Row] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    captions: dict[Hashable, Row] = field(default_factory=dict)

    def add_text(self, result: Result) -> None:
        answer, task = result.answer, result.request.task
        if not answer.text:
            return
        row = {
            **self._key(self.texts),
            "task": task,
            "level": CAPTION_LEVELS.get(task, "ocr"),
            "text": answer.text,
            **asdict(text_scores(answer.text_tokens, result.scores)),
            "tokens": len(answer.text_tokens),
            "truncated": answer.truncated,
        }
        self.texts.append(row)
        self.captions[task] = row

    def add_regions(self, result: Result) -> None:
        instances = result.answer.instances
        parents = result.request.parents
        caption = self.captions[parents[0]] if parents else None
        spans = phrase_spans(caption["text"], _phrases(instances)) if caption else []
        by_label = dict(zip(_label_keys(instances), spans, strict=True)) if caption else {}
        for position, instance in enumerate(instances):
            scores = region_scores(instance, result.scores)
            row = self._region(result, position, instance, scores)
            self.regions.append(row)
            if caption:
                row["parent"] = local_id(MODEL, "text", caption["label_no"])
                span = by_label.get(instance.label_tokens)
                self.phrases.append(self._phrase(caption, row, span, scores))

    def _region(
        self, result: Result, position: int, instance: Instance, scores: RegionScores
    ) -> Row:
        task = result.request.task
        parts = [self._pixels(part) for part in instance.parts]
        closed = task == "od"
        return {
            **self._key(self.regions),
            "task": task,
            "shape": instance.shape,
            **_bounds(parts),
            "points": None if instance.shape == "box" else parts,
            "text": None if closed else instance.label or None,
            "category": instance.label or None if closed else None,
            "score": scores.joint,
            "location_score": scores.location,
            "windowed_location_score": scores.windowed_location,
            "location_spread": scores.spread,
            "label_score": scores.label,
            "end_score": scores.end,
            "position": position,
            "truncated": result.answer.truncated,
        }

    def _phrase(
        self, caption: Row, region: Row, span: tuple[int, int] | None, scores: RegionScores
    ) -> Row:
        start, end = span or (None, None)
        return {
            **self._key(self.phrases),
            "text_source": MODEL,
            "text_no": caption["label_no"],
            "char_start": start,
            "char_end": end,
            "phrase": region["text"],
            "region_source": MODEL,
            "region_no": region["label_no"],
            "score": scores.joint,
            "label_score": scores.label,
        }

    def add_problem(self, result: Result, vocabulary: Vocabulary) -> None:
        if remarks := _remarks(result):
            self.problems.append(
                {
                    **self.image,
                    "kind": "malformed_output",
                    "detail": f"{result.request.task}: {'; '.join(remarks)}",
                    "payload": vocabulary.ids_to_transcript(result.tokens),
                }
            )

    def _key(self, table: list[Row]) -> Row:
        return {**self.image, "source": MODEL, "label_no": len(table)}

    def _pixels(self, bins: Sequence[int]) -> list[float]:
        """x y x y … of bins x y x y …"""
        sides = [self.size[i % 2] for i in range(len(bins))]
        pixels: list[float] = bins_to_pixels(bins, sides).tolist()
        return pixels


def _remarks(result: Result) -> list[str]:
    flags = result.answer.flags
    remarks = [
        f"{flag.kind} at token {flag.position}: {_shorten(flag.detail)}"
        for flag in flags[:MOST_REMARKS]
    ]
    if result.prompt.cut:
        remarks.insert(0, "prompt_cut: the words asked about were too long for the encoder")
    if len(flags) > MOST_REMARKS:
        remarks.append(f"and {len(flags) - MOST_REMARKS} more")
    return remarks


def _shorten(detail: str) -> str:
    return detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}…"


def _bounds(parts: Sequence[Sequence[float]]) -> Row:
    xs = [x for part in parts for x in part[0::2]]
    ys = [y for part in parts for y in part[1::2]]
    return {"x0": min(xs), "y0": min(ys), "x1": max(xs), "y1": max(ys)}


def _label_keys(instances: Sequence[Instance]) -> list[tuple[int, ...]]:
    """The places in the answer of each label, once for all the boxes that share it."""
    return list(dict.fromkeys(i.label_tokens for i in instances if i.label))


def _phrases(instances: Sequence[Instance]) -> list[str]:
    written = {instance.label_tokens: instance.label for instance in instances}
    return [written[key] for key in _label_keys(instances)]
