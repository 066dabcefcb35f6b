"""What a plan says to a person: the work that is left, and the rules for the labels."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from annotator.cli.words import counted

if TYPE_CHECKING:
    from annotator.plan import Plan
    from stages.base import Judge

SHOWN = 6
"""Of a list or a mapping so many entries are printed."""


def plan_text(plan: "Plan") -> str:
    """Two lines: what is left to do for the shards, and the judges in brief."""
    images = [shard.images for shard in plan.shards if shard.todo == "propose"]
    known = [n for n in images if n is not None]
    whole = f" ({counted(sum(known), 'image')})" if images and known == images else ""
    left = (
        f"{plan.name} → {plan.table}: {counted(len(plan.shards), 'shard')},"
        f" {plan.count('propose')} for the model{whole},"
        f" {plan.count('judge')} to judge again, {plan.count('nothing')} reused"
    )
    judges = ", ".join(_in_brief(plan, judge) for judge in plan.settled_judges)
    return f"{left}\n{_title(plan)}: {judges or 'no rules'}"


def plan_in_full(plan: "Plan") -> str:
    """The same, with every option of every judge."""
    from annotator.summary import aligned

    rows = [
        [judge.stage if first else "", option, value]
        for judge in plan.settled_judges
        for first, option, value in _options(plan, judge)
    ]
    left, _ = plan_text(plan).split("\n")
    if not rows:
        return f"{left}\n{_title(plan)}: no rules"
    waiting = f"\n{WAITING}" if plan.judging is None else ""
    return f"{left}{waiting}\n\n{aligned([_title(plan), 'option', 'value'], rows, words=3)}"


WAITING = (
    "constants of the whole data set are set once every shard is measured; until then they are off"
)


def _title(plan: "Plan") -> str:
    return f"judge {plan.profile}" if plan.profile else "judge"


def _in_brief(plan: "Plan", judge: "Judge") -> str:
    """With the options that are not at their defaults."""
    defaults = {name: field.default for name, field in type(judge).model_fields.items()}
    said = [
        f"{option} {value_text(value)}"
        for option, value in judge
        if option != "stage" and value != defaults[option]
    ]
    return f"{judge.stage} ({'; '.join(said)})" if said else judge.stage


def _options(plan: "Plan", judge: "Judge") -> Iterator[tuple[bool, str, str]]:
    options = [(name, value) for name, value in judge if name != "stage"]
    for number, (name, value) in enumerate(options):
        measured = " (measured)" if f"{judge.stage}.{name}" in plan.constants else ""
        yield number == 0, name, f"{value_text(value)}{measured}"


def plan_json(plan: "Plan") -> dict[str, Any]:
    """The work by shard, and every judge with its options."""
    shards = [
        {
            "shard": shard.task.ref.name,
            "url": shard.task.ref.address,
            "todo": shard.todo,
            "images": shard.images,
        }
        for shard in plan.shards
    ]
    return {
        "pipeline": plan.name,
        "shards": shards,
        "profile": plan.profile,
        "judge": [judge.model_dump(mode="json") for judge in plan.settled_judges],
        "constants": plan.constants,
    }


def value_text(value: object) -> str:
    """An option's value for reading: None is `off`, and of many entries the first are shown."""
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return _some([f"{name} {value_text(each)}" for name, each in value.items()])
    if isinstance(value, tuple | list):
        return _some([value_text(each) for each in value])
    return str(value)


def _some(entries: list[str]) -> str:
    if len(entries) <= SHOWN:
        return ", ".join(entries) or "none"
    return f"{', '.join(entries[:SHOWN])}, … ({len(entries)})"
