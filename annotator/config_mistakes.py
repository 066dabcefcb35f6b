"""What is wrong in a pipelines file, in words: pydantic's findings, and what it cannot find."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from annotator.config_links import STAGES, Links, block, did_you_mean, got, listed, value_at, within
from annotator.yaml_locations import Document, Mistake, Place, shown

NAME = r"^[a-z][a-z0-9_]*$"
_BLOCK = "a block of 'name: value' lines"

_EXPECTED = {
    "string_type": "text",
    "string_too_short": "text that is not empty",
    "string_too_long": "at most {max_length} characters long",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": _BLOCK,
    "model_type": _BLOCK,
    "model_attributes_type": _BLOCK,
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "too_short": "at least {min_length} long",
    "too_long": "at most {max_length} long",
}
"""Type of a pydantic error → what should have been there."""
_RANGES = ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "too_short")


def find_mistakes(
    document: Document, error: ValidationError | None, root: type[BaseModel], base: Path
) -> list[Mistake]:
    """All of them, sorted by line; `base` is the folder that relative paths begin at."""
    found = list(document.mistakes)
    if document.whole and document.value is None:
        found.append(Mistake(1, (), "the file is empty: it needs version, models and pipelines"))
    elif document.whole:
        links = Links(document, base)
        found += links.mistakes
        if error:
            found += _pydantic_mistakes(document, error, root, links.settled | document.refused)
    return sorted(dict.fromkeys(found), key=lambda mistake: mistake.line)


def _pydantic_mistakes(
    document: Document, error: ValidationError, root: type[BaseModel], unsure: set[Place]
) -> Iterator[Mistake]:
    at: dict[Place, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        place = _place(document, details)
        if within(place, unsure):
            continue
        if details["type"] in ("missing", "extra_forbidden"):
            text = _explain_name(document, place, details, root)
            yield Mistake(document.line(place), place, text)
        else:
            at.setdefault(place, []).append(details)
    holders = {place[:length] for place in at for length in range(len(place))}
    for place, group in at.items():
        # A union complains once per member: what was found deeper is the better complaint.
        if place not in holders:
            yield Mistake(document.line(place), place, _explain_value(document, place, group))


def _place(document: Document, details: ErrorDetails) -> Place:
    """Where in the text; pydantic's loc also names the member of a union and `[key]`."""
    place: Place = ()
    for part in details["loc"]:
        if (*place, part) in document.lines:
            place = (*place, part)
    return place


def _explain_name(
    document: Document, place: Place, details: ErrorDetails, root: type[BaseModel]
) -> str:
    name = str(details["loc"][-1])
    if details["type"] == "missing":
        return f"{name!r} is required"
    options = [option for option in _options(document, place[:-1], root) if option != "stage"]
    rest = did_you_mean(name, options)
    return f"unknown option {shown(name)}{rest or f': there is {listed(options)}'}"


def _options(document: Document, place: Place, root: type[BaseModel]) -> Iterable[str]:
    """Names that may stand at a place."""
    match place:
        case ():
            return root.model_fields
        case (str(section), str()):
            return _entry_class(root, section).model_fields
        case ("pipelines", str(), str(), int()):
            step = value_at(document.value, place)
            return STAGES[str(block(step)["stage"])].model_fields
        case _:
            return ()


def _entry_class(root: type[BaseModel], section: str) -> type[BaseModel]:
    entry: type[BaseModel] = get_args(root.model_fields[section].annotation)[1]
    return entry


def _explain_value(document: Document, place: Place, group: list[ErrorDetails]) -> str:
    first = group[0]
    if first["loc"][-1:] == ("[key]",) or first.get("ctx", {}).get("pattern") == NAME:
        return "a name begins with a letter and has only a-z, 0-9 and _, at most 64 of them"
    # Of a union's complaints those about the value say more than those about its type.
    group = [details for details in group if details["type"] in _RANGES] or group
    expected = dict.fromkeys(_expected(details) for details in group)
    if None in expected:
        return _sentence(first["msg"])
    value = value_at(document.value, place)
    wanted = " or ".join(str(text) for text in expected)
    written = got(value, document.written.get(place))
    return f"should be {wanted}, got {written}{_remedy(value, wanted)}"


def _remedy(value: object, wanted: str) -> str:
    if isinstance(value, bool | int | float) and "text" in wanted:
        return ": put it in quotes"
    choices = re.findall(r"'([^']*)'", wanted)
    # A short list needs no hint, and 'cpu' is not what 'gpu' meant.
    return did_you_mean(value, choices) if isinstance(value, str) and len(choices) > 4 else ""


def _expected(details: ErrorDetails) -> str | None:
    template = _EXPECTED.get(details["type"])
    return template.format(**details.get("ctx", {})) if template else None


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
