"""A spaCy pipeline as the parser: what FLD-5B counted its Table 3 with."""

from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from schemas.columns import Flags, Rows
from stages.errors import StageError
from stages.language.lexicon import COUNTS
from stages.language.parse import Kind, Tokens

if TYPE_CHECKING:
    from spacy.language import Language as Pipeline
    from spacy.tokens import Doc

_KINDS = {
    "NOUN": Kind.OBJECT,
    "PROPN": Kind.PROPER_NOUN,
    "ADJ": Kind.ATTRIBUTE,
    "NUM": Kind.ATTRIBUTE,
    "VERB": Kind.ACTION,
}
_PLURAL = ("NNS", "NNPS")
_BATCH = 256


@dataclass(frozen=True, slots=True)
class SpacyPipeline:
    """A `Language`; `pipeline` has a parser, a tagger and a lemmatizer."""

    name: str
    version: str
    pipeline: "Pipeline" = field(hash=False)

    def parse(self, texts: pa.Array) -> Tokens:
        longest = self.pipeline.max_length
        strings = (text[:longest] for text in texts.to_pylist())
        docs = list(self.pipeline.pipe(strings, batch_size=_BATCH))
        parts = [_tokens_of(doc, number) for number, doc in enumerate(docs)]
        return _joined(parts)


@cache
def load(name: str) -> SpacyPipeline:
    """The pipeline of a package's name or a folder; StageError says what to install."""
    try:
        import spacy
    except ImportError:
        raise StageError(
            f"the parser {name!r} needs spaCy: pip install 'annotator[spacy]'"
        ) from None
    try:
        pipeline = spacy.load(name, exclude=["ner"])
    except OSError:
        raise StageError(
            f"spaCy has no pipeline {name!r}: python -m spacy download {name}, "
            "or leave `parser` out to use the one that ships with the package"
        ) from None
    if "parser" not in pipeline.pipe_names:
        raise StageError(f"the spaCy pipeline {name!r} has no parser: it must tag and parse")
    meta = pipeline.meta
    parser = f"{version('spacy')}+{meta['lang']}_{meta['name']}-{meta['version']}"
    return SpacyPipeline("spacy", parser, pipeline)


@dataclass(frozen=True, slots=True)
class _Part:
    """The tokens of one text, without white space; indices count from its first token."""

    columns: dict[str, Rows]
    lemmas: list[str]
    plural: Flags
    count: np.ndarray
    phrases: list[tuple[int, int, int]]


def _tokens_of(doc: "Doc", number: int) -> _Part:
    told = [token for token in doc if not token.is_space]
    place = {token.i: index for index, token in enumerate(told)}
    kinds = [
        Kind.ATTRIBUTE
        if token.pos_ == "VERB" and token.dep_ == "amod"
        else _KINDS.get(token.pos_, Kind.OTHER)
        for token in told
    ]
    columns = {
        "text": np.full(len(told), number),
        "start": np.array([token.idx for token in told], dtype=np.int64),
        "end": np.array([token.idx + len(token) for token in told], dtype=np.int64),
        "kind": np.array(kinds, dtype=np.int64),
        "head": np.array(
            [place.get(token.head.i, i) for i, token in enumerate(told)], dtype=np.int64
        ),
    }
    return _Part(
        columns,
        [(token.lemma_ or token.text).lower() for token in told],
        np.array([token.tag_ in _PLURAL for token in told], dtype=bool),
        np.array([_count(token.lower_) if token.pos_ == "NUM" else np.nan for token in told]),
        [
            (place[chunk.start], place[chunk.end - 1] + 1, place[chunk.root.i])
            for chunk in doc.noun_chunks
            if chunk.root.pos_ in ("NOUN", "PROPN")
        ],
    )


def _count(word: str) -> float:
    return float(COUNTS.get(word, word if word.isascii() and word.isdigit() else np.nan))


def _joined(parts: list[_Part]) -> Tokens:
    sizes = np.array([len(part.lemmas) for part in parts], dtype=np.int64)
    offset = np.repeat(np.cumsum(sizes) - sizes, sizes)
    phrase = np.full(len(offset), -1)
    phrase_head = np.zeros(len(offset), dtype=bool)
    number = 0
    for first, part in zip(np.cumsum(sizes) - sizes, parts, strict=True):
        for start, end, head in part.phrases:
            phrase[first + start : first + end] = number
            phrase_head[first + head] = True
            number += 1

    def column(name: str) -> Rows:
        return np.concatenate([np.empty(0, np.int64), *(part.columns[name] for part in parts)])

    return Tokens(
        text=column("text"),
        start=column("start"),
        end=column("end"),
        lemma=pa.array([lemma for part in parts for lemma in part.lemmas], pa.string()),
        kind=column("kind"),
        plural=np.concatenate([np.empty(0, bool), *(part.plural for part in parts)]),
        count=np.concatenate([np.empty(0), *(part.count for part in parts)]),
        tree=lambda: column("head") + offset,
        phrase=phrase,
        phrase_head=phrase_head,
    )
