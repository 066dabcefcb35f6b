"""YAML text → plain values with the line of every key: strict, bounded, every mistake kept."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)

MAX_DEPTH = 20
MAX_BYTES = 1_000_000

Place = tuple[str | int, ...]
"""Keys and list positions from the root to a value."""

_NULL = re.compile(r"|~|null|Null|NULL")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
# A leading zero or many digits are a name, such as a commit: never a number that loses them.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]{0,17})(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Mistake:
    """What is wrong at a place; `line` counts from 1."""

    line: int
    place: Place
    text: str


@dataclass
class Document:
    """What a YAML text says. Without `whole` the text broke off and `value` says nothing."""

    value: object = None
    whole: bool = True
    lines: dict[Place, int] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)
    """Each scalar as it stands in the text."""
    refused: set[Place] = field(default_factory=set)
    """Places whose value is not what was written there."""
    mistakes: list[Mistake] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """Of the key or the list item; of what holds it where it is not there."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def note(self, place: Place, text: str, line: int | None = None) -> None:
        self.mistakes.append(Mistake(line or self.line(place), place, text))


def shown(value: object) -> str:
    """A value as a message shows it: never longer than a line, never with control characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:76]}…{text[-1]}"


def read_yaml(text: str) -> Document:
    """Never raises: what cannot be read is among the mistakes.

    Scalars are those of YAML 1.2: `no` and `on` are text, `1e-6` is a number.
    """
    reader = _Reader(text)
    try:
        reader.read()
    except yaml.MarkedYAMLError as error:
        _break_off(reader.document, _line(error.problem_mark), f"not valid YAML: {_why(error)}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = f"#x{ord(text[error.position]):04x}"
        _break_off(reader.document, line, f"not valid YAML: the character {character} is in it")
    except _TooDeep as error:
        _break_off(reader.document, error.line, f"nested more than {MAX_DEPTH} levels deep")
    return reader.document


def _break_off(document: Document, line: int, text: str) -> None:
    document.whole = False
    document.note((), text, line)


def _line(mark: Any) -> int:
    return int(mark.line) + 1 if mark else 1


def _why(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem)
    if problem.startswith("found character '\\t'"):
        return "a tab, where only spaces can indent"
    if problem.startswith("mapping values are not allowed"):
        return "a ':' that does not belong here: check the indent, or put the text in quotes"
    if error.context_mark and _line(error.context_mark) != _line(error.problem_mark):
        return f"{problem}, {error.context} that began in line {_line(error.context_mark)}"
    return problem


class _TooDeep(Exception):
    def __init__(self, line: int) -> None:
        self.line = line


class _Reader:
    """Builds values from events, not nodes: the composer recurses as deep as the text likes."""

    def __init__(self, text: str) -> None:
        self.document = Document()
        self._events: Iterator[Event] = yaml.parse(text, Loader=yaml.SafeLoader)

    def read(self) -> None:
        documents = 0
        for event in self._events:
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents == 2:
                    line = _line(event.start_mark)
                    self.document.note((), "a second YAML document: one file has one", line)
                    return
            elif isinstance(event, NodeEvent):
                self.document.value = self._value(event, ())

    def _value(self, event: Event, place: Place) -> object:
        line = _line(event.start_mark)
        if len(place) > MAX_DEPTH:
            raise _TooDeep(self.document.lines.get(place, line))
        self.document.lines.setdefault(place, line)
        self._refuse(event, place)
        if isinstance(event, MappingStartEvent):
            return self._mapping(place)
        if isinstance(event, SequenceStartEvent):
            return [
                self._value(item, (*place, number)) for number, item in enumerate(self._children())
            ]
        return self._scalar(event, place)

    def _children(self) -> Iterator[Event]:
        for event in self._events:
            if isinstance(event, CollectionEndEvent):
                return
            yield event

    def _mapping(self, place: Place) -> dict[str, object]:
        values: dict[str, object] = {}
        for event in self._children():
            key = self._key(event, place)
            if key is None:
                self._skip(next(self._events))
            else:
                self.document.lines[(*place, key)] = _line(event.start_mark)
                values[key] = self._value(next(self._events), (*place, key))
        return values

    def _key(self, event: Event, place: Place) -> str | None:
        """None, with the mistake noted, where the value under this key is to be passed over."""
        line = _line(event.start_mark)
        if not isinstance(event, ScalarEvent):
            self._skip(event)
            self.document.note(place, "a key must be plain text", line)
            return None
        key = str(event.value)
        if key == "<<" and event.style is None:
            self.document.note(place, "merge keys (<<) are not used here: write it out", line)
            return None
        first = self.document.lines.get((*place, key))
        if first is not None:
            note = f"{shown(key)} appears twice, first in line {first}"
            self.document.note((*place, key), note, line)
            return None
        self._refuse(event, (*place, key))
        return key

    def _skip(self, event: Event) -> None:
        depth = 0
        while True:
            depth += isinstance(event, CollectionStartEvent)
            depth -= isinstance(event, CollectionEndEvent)
            if depth == 0:
                return
            if depth > MAX_DEPTH:
                raise _TooDeep(_line(event.start_mark))
            event = next(self._events)

    def _refuse(self, event: Event, place: Place) -> None:
        line = _line(event.start_mark)
        if isinstance(event, AliasEvent):
            text = f"aliases (*{event.anchor}) are not used here: write it out"
        elif getattr(event, "anchor", None):
            text = f"anchors (&{getattr(event, 'anchor', '')}) are not used here: write it out"
        elif getattr(event, "tag", None):
            text = f"tags ({getattr(event, 'tag', '')}) are not used here"
        else:
            return
        self.document.refused.add(place)
        self.document.note(place, text, line)

    def _scalar(self, event: Event, place: Place) -> object:
        if not isinstance(event, ScalarEvent):
            return None
        self.document.written[place] = str(event.value)
        return str(event.value) if event.style else _plain(str(event.value))


def _plain(text: str) -> object:
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
