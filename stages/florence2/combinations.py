"""Options of the florence2 stage that make no sense together, each told in one sentence."""

from collections.abc import Collection, Iterator, Sequence

from stages.florence2.options import Options
from stages.florence2.prompts import (
    BOX_TASKS,
    CAPTION_LEVELS,
    DETECTION,
    GROUNDING,
    PHRASE_TASKS,
    PLACE_TASKS,
    REGION_TASKS,
    TASKS,
)
from stages.florence2.spans import plain


def mistakes(options: Options) -> Iterator[str]:
    """Nothing where the options fit each other."""
    if not options.tasks:
        yield "tasks is empty: name at least one, such as caption or od"
    for name in ("tasks", "regions_from", "phrases_from", "queries"):
        if twice := _twice(getattr(options, name)):
            yield f"{name} names {', '.join(twice)} more than once"
    if options.grounds and not options.caption_tasks:
        yield f"{GROUNDING} needs a caption to ground: {_add(CAPTION_LEVELS)}"
    yield from _of_regions(options)
    yield from _of_phrases(options)
    yield from _of_tiles(options)


def _of_regions(options: Options) -> Iterator[str]:
    if not options.region_tasks:
        for name in _set(options, "regions_from", "max_regions"):
            yield f"{name} is set, but no task asks about boxes: {_add(REGION_TASKS)}"
        return
    asking = options.region_tasks[0]
    if not options.regions_from:
        yield f"{asking} needs boxes to ask about: name whose in regions_from, such as od or human"
    for source in options.regions_from:
        if source in TASKS and source not in BOX_TASKS:
            yield f"regions_from names {source}, which finds no boxes: name {_any(BOX_TASKS)}"
        elif source in TASKS and source not in options.tasks:
            yield (
                f"{asking} asks about the boxes of {source}, which is not in tasks: add it, or "
                "name others in regions_from"
            )


def _of_phrases(options: Options) -> Iterator[str]:
    if not options.phrase_tasks:
        names = ("phrases_from", "max_phrases", "queries", "phrases_per_prompt")
        for name in _set(options, *names):
            yield f"{name} is set, but no task looks for phrases: {_add(PHRASE_TASKS)}"
        return
    if not options.phrases_from and not options.queries:
        yield (
            f"{options.phrase_tasks[0]} needs words to look for: give queries, or name captions "
            "in phrases_from"
        )
    yield from _of_captions(options)
    if options.phrases_per_prompt > 1 and DETECTION not in options.tasks:
        yield f"phrases_per_prompt is for {DETECTION}, which is not in tasks: add it"
    for query in options.queries:
        if "<and>" in query:
            yield f"queries holds {query!r}: write each phrase as a query of its own"


def _of_captions(options: Options) -> Iterator[str]:
    for task in options.phrases_from:
        if task not in options.tasks:
            yield f"phrases_from names {task}, which is not in tasks: add it"
    if options.phrases_from and not options.grounds:
        yield f"phrases_from needs the phrases of captions: add {GROUNDING} to tasks"
    if not options.phrases_from and _set(options, "max_phrases"):
        yield "max_phrases limits the phrases of captions: name captions in phrases_from"


def _of_tiles(options: Options) -> Iterator[str]:
    if options.tiling == "never":
        for name in _set(options, "tile_size", "tile_overlap"):
            yield f"{name} is set, but tiling is never: set it to auto or always"
    elif not options.place_tasks:
        yield f"tiling is {options.tiling}, but no task looks for places: {_add(PLACE_TASKS)}"


def _set(options: Options, *names: str) -> list[str]:
    return [name for name in names if name in options.model_fields_set]


def _twice(names: Sequence[str]) -> list[str]:
    plainly = [plain(name) for name in names]
    return sorted({name for name in plainly if plainly.count(name) > 1})


def _add(tasks: Collection[str]) -> str:
    return f"add {_any(tasks)} to tasks"


def _any(tasks: Collection[str]) -> str:
    return f"one of {', '.join(tasks)}"
