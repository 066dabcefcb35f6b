"""The opened stage: samples in, rows out."""

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from schemas.annotations import Annotations, bbox_xyxy, local_ids
from schemas.columns import finite_rows
from schemas.samples import Sample, decode_image
from stages.base import Model
from stages.errors import StageError
from stages.florence2.cascades import Inquiry, KnownRegion
from stages.florence2.checkpoint import naming_the_model
from stages.florence2.encoders import open_encoders
from stages.florence2.engine import Decoding, Engine
from stages.florence2.loading import load_checkpoint
from stages.florence2.options import Options
from stages.florence2.requests import Request, Result
from stages.florence2.rows import answers_to_rows
from stages.florence2.tiling import Views, tiles_of

SAMPLES_ON_CPU = 32


@dataclass(frozen=True)
class Florence2Session:
    """Holds the loaded model."""

    options: Options
    engine: Engine

    @classmethod
    def open(cls, options: Options, model: Model) -> "Florence2Session":
        """Load the checkpoint; StageError says in one sentence why not."""
        decoding = Decoding(
            max_new_tokens=options.token_limits(),
            num_beams=options.num_beams,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            early_stopping=options.early_stopping,
        )
        with _room_on_gpu(options.batch_size):
            with naming_the_model(options.model):
                checkpoint = load_checkpoint(model)
                encoders = open_encoders(checkpoint, model.backend)
            return cls(options, Engine(checkpoint, decoding, options.batch_size, encoders))

    @property
    def samples_at_once(self) -> int:
        """As Session. A CPU steps only the slots that hold an answer. A GPU steps all, so they
        should be filled several times over before the last answers leave them empty."""
        if self.engine.checkpoint.device.type == "cpu":
            return SAMPLES_ON_CPU
        return max(SAMPLES_ON_CPU, 4 * self.engine.batch_size // len(self.options.tasks))

    def propose(
        self, samples: Sequence[Sample], so_far: Annotations
    ) -> Generator[int, None, Annotations]:
        """As Session."""
        views = self._views(samples)
        known = known_regions(so_far, self.options.regions_from)
        inquiries = [
            Inquiry(self.options, views.places, number, known.get(sample.image_id, ()))
            for number, sample in enumerate(samples)
        ]

        def follow_up(result: Result) -> list[Request]:
            return inquiries[views.places[result.request.image].image].follow_up(result)

        # One sample after the other, and of each what is asked about one view of it together.
        first = [
            request
            for inquiry in inquiries
            for request in sorted(inquiry.first(), key=lambda request: request.image)
        ]
        yield sum(inquiry.is_done for inquiry in inquiries)
        with _room_on_gpu(self.engine.batch_size):
            for result in self.engine.stream(views, first, follow_up):
                if inquiries[views.places[result.request.image].image].is_done:
                    yield 1
        return Annotations.concat(
            [
                answers_to_rows(
                    {"image_id": sample.image_id, "shard": sample.shard},
                    inquiry.results(),
                    views.places,
                    self.engine.checkpoint.vocabulary,
                )
                for sample, inquiry in zip(samples, inquiries, strict=True)
            ]
        )

    def _views(self, samples: Sequence[Sample]) -> Views:
        options = self.options
        images = [sample.image or decode_image(sample) for sample in samples]
        tiled = images if options.tiling != "never" else ()
        return Views(
            images, [tiles_of(i.size, options.tile_size, options.tile_overlap) for i in tiled]
        )


@contextmanager
def _room_on_gpu(batch_size: int | None) -> Iterator[None]:
    """What torch raises where a GPU has no room becomes one sentence."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        wanted = re.search(r"allocate ([\d.]+ \w+)", str(error))
        cure = f"set batch_size below {batch_size}, " if batch_size and batch_size > 1 else ""
        raise StageError(
            f"the GPU has no room for {wanted[1] if wanted else 'this'} more: {cure}use fewer "
            "workers, or end what else uses its memory"
        ) from error


def known_regions(so_far: Annotations, sources: Sequence[str]) -> dict[str, list[KnownRegion]]:
    """Regions of these sources by image_id; one without a sound box is left out."""
    wanted = pc.is_in(so_far.regions["source"], value_set=pa.array(sources, pa.string()))
    regions = so_far.regions.filter(wanted)
    boxes = bbox_xyxy(regions)
    sound = finite_rows(boxes) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    names, scores = local_ids(regions, "region").to_pylist(), regions["score"].to_pylist()
    found: dict[str, list[KnownRegion]] = {}
    for i in np.flatnonzero(sound).tolist():
        region = KnownRegion(names[i], tuple(boxes[i].tolist()), scores[i])
        found.setdefault(regions["image_id"][i].as_py(), []).append(region)
    return found
