"""Requests that wait for their turn, and the features of the images that they are about."""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image

from stages.florence2.encoders import Encoders
from stages.florence2.prompts import Prompt
from stages.florence2.requests import Request

ALIKE = 16
"""Prompts are encoded together when their lengths lie in the same span of so many tokens."""


class Images(Protocol):
    """A list of RGB images, or anything that makes one when it is asked for."""

    def __getitem__(self, index: int, /) -> Image.Image: ...


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A request whose image is encoded and whose prompt is written."""

    request: Request
    prompt: Prompt
    features: torch.Tensor


class Waiting:
    """Requests are pulled in only as room is made, so neither they nor their images pile up.

    An image is encoded when the first request about it has its turn. Its features are kept while
    a request about it waits or is not yet `finished`, and while the latest one pulled is about it.
    `write` makes a request's prompt, given how many image tokens stand before it.
    """

    def __init__(
        self,
        requests: Iterable[Request],
        images: Images,
        encoders: Encoders,
        write: Callable[[Request, int], Prompt],
        depth: int,
    ) -> None:
        self._source = iter(requests)
        self._images = images
        self._encoders = encoders
        self._write = write
        self._depth = depth
        self._queue: deque[Request] = deque()
        self._latest: int | None = None
        self._claims: Counter[int] = Counter()
        self._prompts: dict[int, Prompt] = {}
        self.features: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue)

    def fill(self) -> None:
        """Pull requests in up to the depth."""
        while len(self._queue) < self._depth:
            request = next(self._source, None)
            self._keep(None if request is None else request.image)
            if request is None:
                return
            self._claims[request.image] += 1
            self._queue.append(request)

    def put_first(self, requests: Iterable[Request]) -> None:
        """Ahead of all others, in their order, so that an image is done with early."""
        urgent = list(requests)
        self._claims.update(request.image for request in urgent)
        self._queue.extendleft(reversed(urgent))

    def take(self) -> list[Job]:
        """The first and those that are encoded well with it; at least one must wait."""
        if self._queue[0].image not in self.features:
            self._encode_images()
        span = self._span(self._queue[0])
        alike = (r for r in self._queue if r.image in self.features and self._span(r) == span)
        taken = list(itertools.islice(alike, self._encoders.prompts_at_once))
        gone = set(map(id, taken))
        self._queue = deque(request for request in self._queue if id(request) not in gone)
        return [Job(r, self._prompts.pop(id(r)), self.features[r.image]) for r in taken]

    def finished(self, request: Request) -> None:
        """Nothing more will be asked because of this request that has not been put first."""
        self._release(request.image)

    def _span(self, request: Request) -> int:
        key = id(request)
        if key not in self._prompts:
            self._prompts[key] = self._write(request, len(self.features[request.image]))
        return len(self._prompts[key].ids) // ALIKE

    def _encode_images(self) -> None:
        wanted = dict.fromkeys(r.image for r in self._queue if r.image not in self.features)
        indices = list(wanted)[: self._encoders.images_at_once]
        made = self._encoders.encode_images([self._images[index] for index in indices])
        self.features.update(zip(indices, made, strict=True))

    def _keep(self, image: int | None) -> None:
        """Hold on to the image of the latest request pulled in place of the one before."""
        if image == self._latest:
            return
        if image is not None:
            self._claims[image] += 1
        if self._latest is not None:
            self._release(self._latest)
        self._latest = image

    def _release(self, image: int) -> None:
        self._claims[image] -= 1
        if not self._claims[image]:
            del self._claims[image]
            self.features.pop(image, None)
