"""Which questions follow from which answers: all that is asked about one image.

Captions → the grounding of each → its phrases → boxes and masks of these; boxes → the category,
description, mask and words in each; a dense or large image → its tiles.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.boxes import iou, pixels_to_bins
from stages.florence2.grammar import Instance
from stages.florence2.options import Options
from stages.florence2.prompts import (
    BOX_TASKS,
    CAPTION_LEVELS,
    DETECTION,
    GROUNDING,
    PLACE_TASKS,
    Bins,
    Task,
)
from stages.florence2.requests import Request, Result
from stages.florence2.scores import region_scores
from stages.florence2.spans import plain
from stages.florence2.tiling import View

LARGE = 1500
"""Longer side in pixels above which an image is large. A box of 8 pixels, written in bins, keeps a
mean IoU of 0.88 where the image has 1,024 pixels, and of 0.78 where it has 2,048."""
DENSE = 50
"""Places in one answer from which on an image is dense (ours): an answer of 512 tokens ends at
some 85 boxes."""
SAME_PLACE = 0.8
"""IoU from which on a second box is not asked about (ours): the answers would be the same."""

Parent = tuple[Request, int] | str
"""A label that is asked about: the one at a place in the answer to a request, or by its local id
one that was there before."""


@dataclass(frozen=True, slots=True)
class KnownRegion:
    """A region that was there before: `bbox_xyxy` in pixels, `score` None where it has none."""

    local_id: str
    bbox_xyxy: tuple[float, ...]
    score: float | None


@dataclass(frozen=True, slots=True)
class _Place:
    """A box that can be asked about, in bins of the view that it was seen in; a person's box, which
    has no score, has an infinite one."""

    view: int
    bins: Bins
    parent: Parent
    score: float


class Inquiry:
    """What is asked about one image, and what came back, in whatever order it came.

    `whole` is the number of the image among `views`, which hold its tiles too. `known` are the
    regions from other sources that may be asked about.
    """

    def __init__(
        self,
        options: Options,
        views: Sequence[View],
        whole: int,
        known: Sequence[KnownRegion] = (),
    ) -> None:
        self._options = options
        self._views = views
        self._whole = whole
        self._tiles = [i for i, view in enumerate(views) if view.tile and view.image == whole]
        self._known = known
        self._results: dict[Request, Result] = {}
        self._asked: set[Request] = set()
        self._about_phrases: list[Request] | None = None
        self._about_places: list[Request] | None = None

    def first(self) -> list[Request]:
        """What nothing else has to be known for."""
        return self._not_yet_asked()

    def follow_up(self, result: Result) -> list[Request]:
        """What to ask after one more result."""
        self._results[result.request] = result
        leads = result.request.task in BOX_TASKS or result.request.task in CAPTION_LEVELS
        return self._not_yet_asked() if leads else []

    @property
    def is_done(self) -> bool:
        """Whether all that was asked so far is answered; after `follow_up` nothing is missing."""
        return len(self._results) == len(self._asked)

    def results(self) -> list[Result]:
        """All of them; labels stand before those that were asked about them."""
        return [self._results[request] for request in self._requests()]

    def _not_yet_asked(self) -> list[Request]:
        new = [request for request in self._requests() if request not in self._asked]
        self._asked.update(new)
        return new

    def _requests(self) -> list[Request]:
        """All that is to be asked, as far as the results tell; their order hangs on nothing else.

        The best phrases and boxes are chosen once, when all that they are chosen from is there.
        """
        requests = [Request(self._whole, task) for task in self._options.image_tasks]
        requests += self._of_tiles()
        requests += self._of_captions()
        if self._about_phrases is None and self._are_answered(requests, self._phrase_sources()):
            self._about_phrases = list(self._of_phrases())
        requests += self._about_phrases or ()
        if self._about_places is None and self._are_answered(requests, self._place_sources()):
            self._about_places = list(self._of_places(requests))
        return [*requests, *(self._about_places or ())]

    def _are_answered(self, requests: Sequence[Request], tasks: Collection[str]) -> bool:
        return all(r in self._results for r in requests if r.task in tasks)

    def _of_tiles(self) -> list[Request]:
        tiled = self._options.tiling == "always" or (
            self._options.tiling == "auto" and (self._is_large() or self._is_dense())
        )
        tasks = self._options.place_tasks if tiled else ()
        return [Request(tile, task) for task in tasks for tile in self._tiles]

    def _is_large(self) -> bool:
        return max(self._views[self._whole].size) > LARGE

    def _is_dense(self) -> bool:
        asked = (Request(self._whole, task) for task in self._options.place_tasks)
        answers = [self._results[request].answer for request in asked if request in self._results]
        return any(answer.truncated or len(answer.instances) >= DENSE for answer in answers)

    def _of_captions(self) -> Iterator[Request]:
        tasks = self._options.caption_tasks if self._options.grounds else ()
        return filter(None, map(self._grounding_of, tasks))

    def _grounding_of(self, task: Task) -> Request | None:
        """None while there is no caption of this task."""
        request = Request(self._whole, task)
        if (result := self._results.get(request)) and result.answer.text:
            return Request(self._whole, GROUNDING, result.answer.text, ((request, 0),))
        return None

    def _phrase_sources(self) -> Collection[str]:
        return (*self._options.phrases_from, GROUNDING) if self._options.phrases_from else ()

    def _place_sources(self) -> Collection[str]:
        """The tasks whose boxes are asked about, and those that decide what these are asked."""
        sources = set(self._options.regions_from)
        if sources & set(PLACE_TASKS):
            sources.update(PLACE_TASKS)
        if DETECTION in sources:
            sources.update(self._phrase_sources())
        if GROUNDING in sources:
            sources.update(CAPTION_LEVELS)
        return sources

    def _of_phrases(self) -> Iterator[Request]:
        phrases: list[tuple[str, Parent | None]] = [(q, None) for q in self._options.queries]
        phrases += self._grounded_phrases()
        for task in self._options.phrase_tasks:
            together = self._options.phrases_per_prompt if task == DETECTION else 1
            for first in range(0, len(phrases), together):
                words, parents = zip(*phrases[first : first + together], strict=True)
                about = words if len(words) > 1 else words[0]
                yield Request(self._whole, task, about, parents)

    def _grounded_phrases(self) -> list[tuple[str, Parent | None]]:
        """Those with the best scores, each once, in the order of the captions."""
        found: dict[str, tuple[str, Parent]] = {}
        scores: dict[str, float] = {}
        for request in filter(None, map(self._grounding_of, self._options.phrases_from)):
            for parent, instance, score in self._places_in(request):
                name = plain(instance.label)
                found.setdefault(name, (instance.label, parent))
                scores[name] = max(score, scores.get(name, 0))
        for unwanted in ("", *map(plain, self._options.queries)):
            scores.pop(unwanted, None)
        best = sorted(scores, key=lambda name: -scores[name])[: self._options.max_phrases]
        return [phrase for name, phrase in found.items() if name in best]

    def _of_places(self, requests: Sequence[Request]) -> Iterator[Request]:
        if not self._options.region_tasks:
            return
        sources = [request for request in requests if request.task in self._options.regions_from]
        chosen = self._chosen([*map(self._known_place, self._known), *self._own_places(sources)])
        for task in self._options.region_tasks:
            for place in chosen:
                yield Request(place.view, task, place.bins, (place.parent,))

    def _known_place(self, region: KnownRegion) -> _Place:
        corners = np.reshape(region.bbox_xyxy, (2, 2))
        x0, y0, x1, y1 = pixels_to_bins(corners, self._views[self._whole].size).ravel().tolist()
        score = math.inf if region.score is None else region.score
        return _Place(self._whole, (x0, y0, x1, y1), region.local_id, score)

    def _own_places(self, requests: Sequence[Request]) -> Iterator[_Place]:
        for request in requests:
            for parent, instance, score in self._places_in(request):
                yield _Place(request.image, _bounds(instance), parent, score)

    def _chosen(self, places: Sequence[_Place]) -> list[_Place]:
        """Those with the best scores that are not at the same place, in the order given."""
        chosen: list[int] = []
        boxes = np.array([self._views[p.view].bins_to_pixels(p.bins) for p in places])
        for i in sorted(range(len(places)), key=lambda i: -places[i].score):
            if len(chosen) == self._options.max_regions:
                break
            if (iou(boxes[[i]], boxes[chosen]) < SAME_PLACE).all():
                chosen.append(i)
        return [places[i] for i in sorted(chosen)]

    def _places_in(self, request: Request) -> Iterator[tuple[Parent, Instance, float]]:
        """Each place in the answer to a request with its joint score."""
        result = self._results[request]
        for position, instance in enumerate(result.answer.instances):
            yield (request, position), instance, region_scores(instance, result.scores).joint


def _bounds(instance: Instance) -> Bins:
    xs = [x for part in instance.parts for x in part[0::2]]
    ys = [y for part in instance.parts for y in part[1::2]]
    return min(xs), min(ys), max(xs), max(ys)
