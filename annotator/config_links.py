"""What pydantic cannot see in a pipelines file: names that lead nowhere, impossible orders."""

import difflib
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeGuard

from annotator.yaml_locations import Document, Mistake, Place, shown
from schemas.tables import HUMAN
from stages.base import Stage, normalise_task
from stages.catalogue import JUDGES, PROPOSERS
from stages.florence2.prompts import BOX_TASKS, TASKS

EMBEDDED = "embedded"
MANY = 200
"""Names are compared with and listed up to so many."""
BY_PEOPLE = ("texts", "regions")
"""Tables that the label files of shards make: all there is to judge where nothing proposes."""
STAGES: Mapping[str, type[Stage]] = {**PROPOSERS, **JUDGES}
_KINDS: Mapping[str, Mapping[str, type[Stage]]] = {"propose": PROPOSERS, "judge": JUDGES}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Links:
    """What pydantic cannot see: names that lead nowhere, and stages in an impossible order.

    Reads the plain values, not a Config, since a file with other mistakes has none. `settled`
    holds the places about which nothing more need be said.
    """

    def __init__(self, document: Document, base: Path) -> None:
        self._document, self._base = document, base
        self.mistakes: list[Mistake] = []
        self.settled: set[Place] = set()
        self._models = block(document.value, "models")
        self._check_checkpoints()
        for name in block(document.value, "pipelines"):
            self._check_pipeline(("pipelines", name))
        self._check_trainings()

    def _note(self, place: Place, text: str) -> None:
        if not within(place, self._document.refused):
            self.mistakes.append(Mistake(self._document.line(place), place, text))

    def _check_checkpoints(self) -> None:
        for name, model in self._models.items():
            checkpoint = block(model).get("checkpoint")
            if not isinstance(checkpoint, str):
                continue
            place: Place = ("models", name, "checkpoint")
            local = checkpoint == EMBEDDED or is_folder(checkpoint, self._base)
            if not local and not _HUB_ID.fullmatch(checkpoint):
                self._note(place, _no_checkpoint(checkpoint))
            if local and block(model).get("revision") is not None:
                place = ("models", name, "revision")
                self._note(place, f"only a Hub id has revisions, not {shown(checkpoint)}")

    def _check_pipeline(self, place: Place) -> None:
        alone = value_at(self._document.value, (*place, "propose")) == []
        made: set[str] | None = set(BY_PEOPLE) if alone else set()
        tasks = self._tasks(place)
        for kind in _KINDS:
            for number, step in _items(value_at(self._document.value, (*place, kind))):
                made = self._check_step((*place, kind, number), kind, step, made)
                if made is not None and tasks:
                    self._check_thresholds((*place, kind, number), block(step), tasks)

    def _tasks(self, place: Place) -> list[str]:
        """Tasks of all stages of a pipeline that see pixels, in their plain spelling."""
        steps = _items(value_at(self._document.value, (*place, "propose")))
        named = [block(step).get("tasks") for _, step in steps]
        tasks = [task for tasks in named if isinstance(tasks, list) for task in tasks]
        return [normalise_task(task) for task in tasks if isinstance(task, str)]

    def _check_thresholds(
        self, place: Place, options: Mapping[str, object], tasks: Sequence[str]
    ) -> None:
        """A mapping leaves other tasks alone: a misspelt one would do nothing, in silence."""
        for option in STAGES[str(options["stage"])].per_task:
            for task in block(options, option):
                if normalise_task(task) not in tasks:
                    rest = (
                        did_you_mean(normalise_task(task), tasks) or f": there is {listed(tasks)}"
                    )
                    text = f"no stage of this pipeline does the task {shown(task)}{rest}"
                    self._note((*place, option, task), text)

    def _check_step(
        self, place: Place, kind: str, step: object, made: set[str] | None
    ) -> set[str] | None:
        """Tables that stages up to here make; None after a stage that nobody knows."""
        problem = _stage_problem(kind, step)
        if problem:
            self.settled.add(place)
            self._note(place, problem)
            return None
        options = block(step)
        cls = _KINDS[kind][str(options["stage"])]
        self._check_model(cls, place, options)
        self._check_sources(place, options)
        if kind == "propose" and self._is_there_already(place, options):
            text = f"{options['stage']} is there already: give one stage all its tasks"
            self._note(place, text)
        if made is None:
            return None
        if missing := sorted(cls.needs - made):
            tables = " and ".join(missing)
            self._note(place, f"needs {tables}, and no stage before it makes them")
        return made | cls.makes

    def _is_there_already(self, place: Place, options: Mapping[str, object]) -> bool:
        """A stage numbers its labels from 0 for each image, so twice the stage is twice the key."""
        steps = _items(value_at(self._document.value, place[:-1]))
        return any(
            number < int(place[-1]) and block(step).get("stage") == options["stage"]
            for number, step in steps
        )

    def _check_model(self, cls: type[Stage], place: Place, options: Mapping[str, object]) -> None:
        if "model" in cls.model_fields and isinstance(name := options.get("model"), str):
            self._check_name((*place, "model"), "model", name, self._models)

    def _check_sources(self, place: Place, options: Mapping[str, object]) -> None:
        """Whose regions a stage asks about: a misspelt name would find nothing, in silence.

        Of a task that it does not do, or that finds no boxes, the stage itself complains.
        """
        steps = _items(value_at(self._document.value, place[:-1]))
        before = [block(step).get("stage") for number, step in steps if number < int(place[-1])]
        own = [normalise_task(task) for _, task in _items(options.get("tasks")) if _is_text(task)]
        known = [*(task for task in own if task in BOX_TASKS), HUMAN, *filter(_is_text, before)]
        for number, source in _items(options.get("regions_from")):
            if _is_text(source) and (name := normalise_task(source)) not in {*TASKS, *known}:
                rest = did_you_mean(name, known) or f": there is {listed(known)}"
                text = f"no regions come from {shown(source)}{rest}"
                self._note((*place, "regions_from", number), text)

    def _check_trainings(self) -> None:
        pipelines = block(self._document.value, "pipelines")
        tables = [block(line).get("table") or name for name, line in pipelines.items()]
        known = {"model": list(self._models), "table": [t for t in tables if isinstance(t, str)]}
        for name, training in block(self._document.value, "trainings").items():
            for option, names in known.items():
                value = block(training).get(option)
                if isinstance(value, str):
                    self._check_name(("trainings", name, option), option, value, names)

    def _check_name(self, place: Place, what: str, name: str, known: Iterable[str]) -> None:
        known = list(known)
        if name not in known:
            rest = did_you_mean(name, known) or f": there is {listed(known)}"
            self._note(place, f"unknown {what} {shown(name)}{rest}")


def within(place: Place, holders: Container[Place]) -> bool:
    """Whether a place is one of `holders` or lies inside one."""
    return any(place[:length] in holders for length in range(len(place) + 1))


def block(value: object, *keys: str) -> dict[str, object]:
    """The mapping under these keys, empty where there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _items(value: object) -> Iterator[tuple[int, object]]:
    return enumerate(value) if isinstance(value, list) else enumerate([])


def listed(names: Iterable[str]) -> str:
    first = list(islice(names, MANY))
    return ", ".join(first) + (", …" if len(first) == MANY else "") or "none"


def _no_checkpoint(checkpoint: str) -> str:
    hint = did_you_mean(checkpoint, [EMBEDDED]) or "; the path of a folder begins with ./"
    return f"{shown(checkpoint)} is no folder, and no Hub id such as owner/name{hint}"


def _stage_problem(kind: str, step: object) -> str | None:
    if not isinstance(step, dict):
        return f"a step is written '- stage: NAME', got {got(step)}"
    if "stage" not in step:
        return "this step has no 'stage:' name"
    name = step["stage"]
    if not isinstance(name, str):
        return f"'stage' should be the name of a stage, got {got(name)}"
    if name in _KINDS[kind]:
        return None
    if name in STAGES:
        other = "judge" if kind == "propose" else "propose"
        return f"{name!r} belongs under '{other}:', not '{kind}:'"
    rest = did_you_mean(name, _KINDS[kind]) or f": there is {listed(_KINDS[kind])}"
    return f"unknown stage {shown(name)}{rest}"


def value_at(value: object, place: Place) -> object:
    """None where there is nothing."""
    for part in place:
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int):
            value = value[part]
        else:
            return None
    return value


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`, did you mean 'x'?`, or nothing where no known name is close."""
    close = difflib.get_close_matches(name[:100].lower(), islice(known, MANY), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def is_folder(checkpoint: str, base: Path) -> bool:
    """Whether a checkpoint is a folder rather than a Hub id; `./`, `../` and `/` always are."""
    if checkpoint.startswith(("./", "../", "/")):
        return True
    try:
        return bool(checkpoint) and (base / checkpoint).is_dir()
    except OSError:  # such as a name that is too long
        return False


def got(value: object, written: str | None = None) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a block of options" if value else "an empty block"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, bool):
        return written or str(value).lower()
    if isinstance(value, str):
        return shown(value)
    return shown(written or value).strip("'")
