"""Words: how labels and phrases are compared, the lists that rules hold, and the parsers."""

from typing import Any

from stages.language.chunker import Chunker
from stages.language.comparison import (
    ABSTRACT_NOUNS,
    EMPTY_LABELS,
    SCENE_NOUNS,
    UNGROUNDABLE,
    comparable,
    normalised,
    token_counts,
)
from stages.language.parse import Kind, Language, Parsed, Tokens, parse

CHUNKER = "chunker"
"""The parser that ships with the package; any other name is a spaCy pipeline's."""

__all__ = [
    "ABSTRACT_NOUNS",
    "CHUNKER",
    "EMPTY_LABELS",
    "SCENE_NOUNS",
    "UNGROUNDABLE",
    "Kind",
    "Language",
    "Parsed",
    "Tokens",
    "comparable",
    "language_named",
    "normalised",
    "parse",
    "parser_identity",
    "token_counts",
]


def language_named(parser: str) -> Language:
    """`chunker`, or the spaCy pipeline of that name or folder.

    LanguageMissing says in one sentence what to install.
    """
    if parser == CHUNKER:
        return Chunker()
    from stages.language.spacy_pipeline import load

    return load(parser)


def parser_identity(parser: str) -> dict[str, Any]:
    """Part of a recipe: every number of a parse depends on it."""
    language = language_named(parser)
    return {"name": language.name, "version": language.version}
