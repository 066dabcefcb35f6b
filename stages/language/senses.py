"""What words share: kinds of things, and the words that tell a thing's look."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Column, Flags, group_codes

_KINDS = {
    "person": "man woman boy girl child kid baby toddler lady gentleman guy player rider driver "
    "worker surfer skier snowboarder skateboarder pedestrian officer policeman fireman soldier "
    "chef waiter student teacher couple crowd human adult",
    "dog": "puppy hound",
    "cat": "kitten",
    "bird": "duck goose chicken hen eagle owl parrot pigeon seagull swan",
    "cow": "bull calf cattle",
    "car": "taxi sedan",
    "motorcycle": "motorbike scooter moped",
    "bicycle": "bike",
    "boat": "ship canoe kayak sailboat ferry",
    "airplane": "plane jet aircraft",
    "couch": "sofa",
    "television": "tv monitor",
    "table": "desk",
    "cup": "mug",
    "plant": "flower tree bush shrub",
}
KIND_OF = {word: kind for kind, words in _KINDS.items() for word in words.split()}
"""A narrower word → the wider one that a detector with few categories says instead; ours."""

_LOOKS = (
    "red orange yellow green blue purple violet pink brown beige tan white black gray grey golden "
    "silver teal turquoise navy maroon plain striped dotted checkered spotted plaid floral wooden "
    "metal plastic glass leather brick stone concrete ceramic"
)
LOOKS = tuple(_LOOKS.split())
"""Colours, patterns and materials: what a description of the same place must say again; ours."""

TEXT_NOUNS = ("word", "letter", "text", "title", "number", "name", "caption", "logo")
"""Nouns of things that are read, and that no detector of objects finds."""


def widened(lemmas: Column) -> pa.Array:
    """The wider word of each lemma, the lemma itself where there is none."""
    whole = lemmas.combine_chunks() if isinstance(lemmas, pa.ChunkedArray) else lemmas
    found = pc.index_in(whole, value_set=pa.array(list(KIND_OF), pa.string()))
    return pc.coalesce(pa.array(list(KIND_OF.values()), pa.string()).take(found), whole)


def compatible(one: pa.Array, other: pa.Array) -> Flags:
    """Row by row: the same word, or one the wider word of the other?"""
    same = pc.or_(pc.equal(one, other), pc.equal(widened(one), other))
    same = pc.or_(same, pc.equal(one, widened(other)))
    return np.asarray(pc.fill_null(same, False).to_numpy(zero_copy_only=False))


def said_in(
    places: Iterable[Column], lemmas: pa.Array, where: Iterable[Column], among: pa.Array
) -> Flags:
    """Is a compatible word among those said in the same place? `places` and `where` are the columns
    that name a place, of `lemmas` and of `among`."""
    own = [*places]
    there = [*where]

    def found(word: pa.Array, said: pa.Array) -> Flags:
        columns = [
            pa.concat_arrays([_whole(a), _whole(b)])
            for a, b in zip([*own, word], [*there, said], strict=True)
        ]
        codes = group_codes(columns)
        return np.isin(codes[: len(word)], codes[len(word) :])

    return found(lemmas, among) | found(widened(lemmas), among) | found(lemmas, widened(among))


def _whole(column: Column) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
