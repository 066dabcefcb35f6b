"""Florence2: one stage for the whole list of tasks, since they share one vision encoding."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from stages.base import Model, Proposer, Session
from stages.florence2.combinations import mistakes
from stages.florence2.options import Options
from stages.florence2.prompts import TASKS


class Florence2(Options, Proposer):
    """Every task of a Florence-2 checkpoint, and what follows from the answers.

    Captions are grounded; `phrases_from` sends the phrases that were found in them, and `queries`
    words of your own, to referring_expression_segmentation and open_vocabulary_detection;
    `regions_from` says whose boxes the `region_to_…` tasks are asked about. Each row names in
    `parent` the label that it was asked about. Large and dense images may be looked at in tiles
    too, by the tasks that look for places: od, dense_region_caption, region_proposal and
    ocr_with_region. All that is found stays, with its `tile`; a judge drops what was found twice.
    """

    # Not raised for another rounding, which another processor does as well.
    behaviour: ClassVar[int] = 3
    needs: ClassVar[frozenset[str]] = frozenset()
    makes: ClassVar[frozenset[str]] = frozenset({"texts", "regions", "phrases"})

    @model_validator(mode="after")
    def _check_combinations(self) -> "Florence2":
        if mistake := next(mistakes(self), None):
            raise ValueError(mistake)
        return self

    def identity(self, models: Mapping[str, Model]) -> dict[str, Any]:
        """The checkpoint's content in place of its name; not the batch size; limits and prompts."""
        from stages.florence2.checkpoint import identity, naming_the_model

        options = super().identity(models)
        del options["batch_size"]
        with naming_the_model(self.model):
            model = identity(models[self.model])
        return {
            **options,
            "model": model,
            "max_new_tokens": self.token_limits(),
            "prompts": {task: TASKS[task].prompt for task in self.tasks},
        }

    def open(self, models: Mapping[str, Model]) -> Session:
        from stages.florence2.session import Florence2Session

        return Florence2Session.open(self, models[self.model])
