"""Words, without a parser: how labels and phrases are compared, and the lists that rules hold."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Column
from stages.language.tokens import split


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PRONOUNS = _words(
    """
    i me my mine myself you your yours yourself yourselves he him his himself she her hers herself
    it its itself we us our ours ourselves they them their theirs themselves oneself
    this that these those who whom whose which what
    all another any anybody anyone anything both each everybody everyone everything few many most
    neither nobody none nothing one other others several some somebody someone something such
    """
)
NOT_A_THING = (
    *("a", "an", "the", "image", "images", "group", "set", "lot", "lots", "other objects"),
    *("each other", "one another", "no one"),
)
UNGROUNDABLE = PRONOUNS + NOT_A_THING
"""What Florence-2's released processor refuses to ground (pronouns, the image itself, bare
quantities), as `normalised` writes it: lower case, no leading article."""

ABSTRACT_NOUNS = _words(
    """
    time love freedom beauty peace happiness joy sadness anger fear hope life idea thought concept
    feeling emotion mood atmosphere ambience impression sense style way kind type sort purpose
    reason fact focus attention activity action moment occasion situation condition effect
    addition variety number amount size shape color colour distance direction position
    presence absence movement motion front middle left right
    """
)
"""Heads of phrases that no box can hold; ours, after the captions models write."""

EMPTY_LABELS = ("background", "photo", "picture", "view", "scene")
"""Region labels that name no thing."""

SCENE_NOUNS = _words(
    """
    background foreground scene view sky ground floor wall ceiling room bedroom bathroom kitchen
    office classroom restaurant store shop market street road highway city town village building
    house park garden yard field meadow grass lawn forest wood woods tree trees mountain mountains
    hill hills valley desert sand beach coast shore sea ocean lake river water snow ice stadium
    court pitch arena airport station harbor harbour farm landscape area place space surface table
    """
)
"""Heads of phrases that may fill the whole image."""

_PLURALS = (
    (r"\b(|wo|police|fire)men$", r"\1man"),
    (r"\bpeople$", "person"),
    (r"\bchildren$", "child"),
    (r"\bfeet$", "foot"),
    (r"\bteeth$", "tooth"),
    (r"\bgeese$", "goose"),
    (r"\bmice$", "mouse"),
    (r"\b(kni|wi)ves$", r"\1fe"),
    (r"\b(lea|shel|wol|loa|hal|cal|scar)ves$", r"\1f"),
    (r"\bbuses$", "bus"),
    (r"\b(cook|mov|brown|hood|self|p|t|l)ies$", r"\1ie"),
    (r"([^\saeiou])ies$", r"\1y"),
    (r"(ss|sh|ch|x|zz)es$", r"\1"),
    (r"([^\ssui])s$", r"\1"),
)
"""Applied in order to the last word. Crude on purpose: only ever compared with itself."""


def token_counts(strings: Column) -> pa.Array:
    """Tokens of each string, NULL for NULL; close to spaCy's count, not equal to it."""
    return _on_distinct(strings, _token_counts)


def normalised(strings: Column) -> pa.Array:
    """Lower case, single spaces, without a leading article or punctuation at the ends."""
    return _on_distinct(strings, _normalised)


def comparable(strings: Column) -> pa.Array:
    """Normalised and with the last word in the singular: equal for labels that name one thing."""
    return _on_distinct(strings, lambda distinct: singular(_normalised(distinct)))


def _token_counts(strings: pa.Array) -> pa.Array:
    return pa.array(np.bincount(split(strings).text, minlength=len(strings)))


def _normalised(strings: pa.Array) -> pa.Array:
    lower = pc.replace_substring_regex(pc.utf8_lower(strings), r"[\s_]+", " ")
    bare = pc.replace_substring_regex(lower, r"""^[ .,;:!?"'`]+|[ .,;:!?"'`]+$""", "")
    return pc.replace_substring_regex(bare, r"^(?:a|an|the) ", "")


def singular(strings: pa.Array) -> pa.Array:
    """With the last word in the singular; lower case."""
    for plural, singular in _PLURALS:
        strings = pc.replace_substring_regex(strings, plural, singular)
    return strings


def _on_distinct(strings: Column, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    encoded = _whole(strings).dictionary_encode()
    return change(encoded.dictionary).take(encoded.indices)


def _whole(strings: Column) -> pa.Array:
    return strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
