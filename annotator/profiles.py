"""The profiles of pipelines.yaml: `judge: strict`, `judge: permissive`, as lists of stages."""

from typing import Literal

from pydantic import TypeAdapter

from stages.catalogue import JUDGES, AnyJudge

Profile = Literal["permissive", "strict"]


def judges_of(profile: Profile) -> list[AnyJudge]:
    """Every judge with its defaults, in the order of `stages.JUDGES`, human labels merged last.

    In `permissive` the filters only flag; human labels win over the model's in both.
    """
    softened = {"verdict_at_most": "flag"} if profile == "permissive" else {}
    written = [{"stage": stage, **({} if stage == "merge_human" else softened)} for stage in JUDGES]
    return TypeAdapter(list[AnyJudge]).validate_python(written)
