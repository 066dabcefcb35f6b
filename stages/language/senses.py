"""Kinds of things: which words may name one thing."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import Column, Flags

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
