"""The opened stage: samples in, rows out."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from schemas.annotations import Annotations
from schemas.samples import Sample, decode_image
from stages.base import Model
from stages.florence2.checkpoint import load_checkpoint
from stages.florence2.engine import Decoding, Engine, Request, Result
from stages.florence2.prompts import CAPTION_LEVELS
from stages.florence2.rows import answers_to_rows

if TYPE_CHECKING:
    from stages.florence2.stage import Florence2

GROUNDING: Final = "caption_to_phrase_grounding"


@dataclass(frozen=True)
class Florence2Session:
    """Holds the loaded model."""

    options: "Florence2"
    engine: Engine

    @classmethod
    def open(cls, options: "Florence2", model: Model) -> "Florence2Session":
        """Load the checkpoint; StageError says in one sentence why not."""
        decoding = Decoding(
            max_new_tokens=options.token_limits(),
            num_beams=options.num_beams,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
        )
        return cls(options, Engine(load_checkpoint(model), decoding, options.batch_size))

    def propose(self, samples: Sequence[Sample], so_far: Annotations) -> Annotations:
        """New rows for these samples, all of the same recipe."""
        images = [sample.image or decode_image(sample) for sample in samples]
        requests = [
            Request(index, task)
            for index in range(len(images))
            for task in self.options.tasks
            if task != GROUNDING
        ]
        results = self.engine.run(images, requests, self._follow_up)
        return Annotations.concat(
            [
                answers_to_rows(
                    {"image_id": sample.image_id, "shard": sample.shard},
                    image.size,
                    self._in_order([r for r in results if r.request.image == index]),
                    self.engine.checkpoint.vocabulary,
                )
                for index, (sample, image) in enumerate(zip(samples, images, strict=True))
            ]
        )

    def _follow_up(self, result: Result) -> Iterator[Request]:
        """The grounding of a caption, asked about its words."""
        request, caption = result.request, result.answer.text
        if self.options.grounds and request.task in CAPTION_LEVELS and caption:
            yield Request(request.image, GROUNDING, about=caption, parents=(request.task,))

    def _in_order(self, results: Sequence[Result]) -> list[Result]:
        """By the stage's list of tasks, however the engine batched them."""
        place_of: dict[Hashable, int] = {task: i for i, task in enumerate(self.options.tasks)}

        def place(result: Result) -> tuple[int, int]:
            parents = result.request.parents
            return place_of[result.request.task], place_of[parents[0]] if parents else 0

        return sorted(results, key=place)
