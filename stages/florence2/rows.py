"""Parsed answers about one image → rows of texts, regions, phrases and problems."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from schemas.annotations import Annotations
from schemas.ids import local_id
from schemas.tables import MODEL
from stages.florence2.grammar import Instance
from stages.florence2.prompts import (
    CAPTION_LEVELS,
    CATEGORY,
    GROUNDING,
    PHRASE_TASKS,
    REGION_TASKS,
    TASKS,
    Task,
)
from stages.florence2.requests import Result
from stages.florence2.scores import RegionScores, region_scores, text_scores
from stages.florence2.spans import phrase_spans, plain
from stages.florence2.tiling import View
from stages.florence2.vocabulary import Vocabulary

Row = dict[str, Any]
MOST_REMARKS = 8
LONGEST_DETAIL = 80
"""The payload holds the whole answer; the detail names the first things that were cut."""
LEVELS = {**CAPTION_LEVELS, "region_to_description": "description"}
"""Task → the level of its text; every other text is words in the image."""
KIND_OF_PARENT: dict[Task, str] = {
    GROUNDING: "text",
    **dict.fromkeys(PHRASE_TASKS, "phrase"),
    **dict.fromkeys(REGION_TASKS, "region"),
}
"""What a task is asked about."""


def answers_to_rows(
    image: Row, results: Sequence[Result], views: Sequence[View], vocabulary: Vocabulary
) -> Annotations:
    """`image` has the columns image_id and shard; `views` are what the requests' images are.

    `label_no` runs from 0 in each table, in the order of `results`, where a label stands before
    those that were asked about it.
    """
    rows = _Rows(image, views)
    for result in results:
        if result.request.task == CATEGORY:
            rows.add_category(result)
        elif TASKS[result.request.task].output == "text":
            rows.add_text(result)
        else:
            rows.add_regions(result)
        rows.add_problem(result, vocabulary)
    return Annotations.of(
        texts=rows.texts, regions=rows.regions, phrases=rows.phrases, problems=rows.problems
    )


@dataclass(slots=True)
class _Rows:
    """`made` finds the local id of a label: by its kind, its request, its place in the answer."""

    image: Row
    views: Sequence[View]
    texts: list[Row] = field(default_factory=list)
    regions: list[Row] = field(default_factory=list)
    phrases: list[Row] = field(default_factory=list)
    problems: list[Row] = field(default_factory=list)
    made: dict[tuple[str, Hashable], Row] = field(default_factory=dict)

    def add_text(self, result: Result) -> None:
        answer, task = result.answer, result.request.task
        if not answer.text:
            return
        row = {
            **self._key(self.texts),
            "task": task,
            "level": LEVELS.get(task, "ocr"),
            "text": answer.text,
            **asdict(text_scores(answer.text_tokens, result.scores)),
            "tokens": len(answer.text_tokens),
            "truncated": answer.truncated,
            "parent": self._parent(result),
        }
        self.texts.append(row)
        self.made["text", (result.request, 0)] = row

    def add_category(self, result: Result) -> None:
        """A region again, at the place that was asked about, with the category it was given."""
        answer, request = result.answer, result.request
        if not answer.text:
            return
        score = text_scores(answer.text_tokens, result.scores).score
        row = {
            **self._placed(result, [[int(bin) for bin in request.about or ()]]),
            "shape": "box",
            "category": answer.text,
            "score": score,
            "label_score": score,
            "parent": self._parent(result),
        }
        self._keep(row, result, 0)

    def add_regions(self, result: Result) -> None:
        spans = self._spans(result) if result.request.task == GROUNDING else {}
        for position, instance in enumerate(result.answer.instances):
            scores = region_scores(instance, result.scores)
            row = {
                **self._placed(result, instance.parts),
                "shape": instance.shape,
                **self._named(result, instance),
                "score": scores.joint,
                "location_score": scores.location,
                "windowed_location_score": scores.windowed_location,
                "location_spread": scores.spread,
                "label_score": scores.label,
                "end_score": scores.end,
                "position": position,
            }
            if instance.shape != "box":
                row["points"] = self._pixels(result, instance.parts)
            self._keep(row, result, position)
            if result.request.task == GROUNDING:
                self._add_phrase(result, position, spans.get(instance.label_tokens), scores)

    def _placed(self, result: Result, parts: Sequence[Sequence[int]]) -> Row:
        return {
            **self._key(self.regions),
            "task": result.request.task,
            **_bounds(self._pixels(result, parts)),
            "truncated": result.answer.truncated,
            "tile": self.views[result.request.image].name,
        }

    def _keep(self, region: Row, result: Result, position: int) -> None:
        self.regions.append(region)
        self.made["region", (result.request, position)] = region

    def _named(self, result: Result, instance: Instance) -> Row:
        task, label = result.request.task, instance.label
        if task in PHRASE_TASKS:
            return self._named_by_phrase(result, label)
        name = "category" if task == "od" else "text"
        return {name: label or None, "parent": self._parent(result)}

    def _named_by_phrase(self, result: Result, label: str) -> Row:
        """A query is of a closed set of names, the user's: where it is found, it is a category."""
        about = result.request.about
        asked = [about] if isinstance(about, str) else [str(part) for part in about or ()]
        said = plain(label)
        number = next((i for i, phrase in enumerate(asked) if plain(phrase) == said), None)
        if number is None and len(asked) > 1:
            return {"text": label or None}
        parent = self._parent(result, number or 0)
        found = parent is None and (number is not None or not label)
        return {"category" if found else "text": label or asked[0], "parent": parent}

    def _spans(self, result: Result) -> dict[tuple[int, ...], tuple[int, int] | None]:
        """Where in the caption each phrase stands, by the places of its tokens in the answer."""
        labels = {i.label_tokens: i.label for i in result.answer.instances if i.label}
        caption = self.made["text", result.request.parents[0]]["text"]
        return dict(zip(labels, phrase_spans(caption, labels.values()), strict=True))

    def _add_phrase(
        self, result: Result, position: int, span: tuple[int, int] | None, scores: RegionScores
    ) -> None:
        region = self.regions[-1]
        start, end = span or (None, None)
        row = {
            **self._key(self.phrases),
            "text_source": MODEL,
            "text_no": self.made["text", result.request.parents[0]]["label_no"],
            "char_start": start,
            "char_end": end,
            "phrase": region["text"],
            "region_source": MODEL,
            "region_no": region["label_no"],
            "score": scores.joint,
            "label_score": scores.label,
        }
        self.phrases.append(row)
        self.made["phrase", (result.request, position)] = row

    def _parent(self, result: Result, number: int = 0) -> str | None:
        """Local id of a label that was asked about."""
        request = result.request
        parent = request.parents[number] if request.parents else None
        if parent is None or isinstance(parent, str):
            return parent
        kind = KIND_OF_PARENT[request.task]
        return local_id(MODEL, kind, self.made[kind, parent]["label_no"])

    def add_problem(self, result: Result, vocabulary: Vocabulary) -> None:
        if remarks := _remarks(result):
            tile = self.views[result.request.image].name
            where = f"{result.request.task}{f' of tile {tile}' if tile else ''}"
            self.problems.append(
                {
                    **self.image,
                    "kind": "malformed_output",
                    "detail": f"{where}: {'; '.join(remarks)}",
                    "payload": vocabulary.ids_to_transcript(result.tokens),
                }
            )

    def _key(self, table: list[Row]) -> Row:
        return {**self.image, "source": MODEL, "label_no": len(table)}

    def _pixels(self, result: Result, parts: Sequence[Sequence[int]]) -> list[list[float]]:
        """x y x y … of each part, in pixels of the whole image."""
        view = self.views[result.request.image]
        return [view.bins_to_pixels(part) for part in parts]


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
