"""Part of speech of each token: what the lexicon says, put right by its neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from schemas.columns import Flags, Numbers, Rows
from stages.language.lexicon import COUNTS, Tag, look_up
from stages.language.tokens import Words

Tags = Rows
VERBS = (Tag.VERB, Tag.VERB_S, Tag.GERUND, Tag.PARTICIPLE)
NOMINAL = (Tag.NOUN, Tag.PROPER)
_BEFORE_NOUN = (Tag.DETERMINER, Tag.NUMERAL, Tag.ADJECTIVE)
_IN_PHRASE = (*_BEFORE_NOUN, *NOMINAL)
_AFTER_VERB = (Tag.DETERMINER, Tag.PREPOSITION, Tag.ADVERB, Tag.GERUND, Tag.PRONOUN)
_ONE = ("a", "an", "one", "this", "each", "every", "another")


@dataclass(frozen=True, slots=True)
class Tagged:
    """One entry per token."""

    tag: Tags
    lemma: pa.Array
    plural: Flags
    count: Numbers


def tagged(words: Words) -> Tagged:
    """Each distinct word is looked up once."""
    encoded = words.distinct
    distinct = encoded.dictionary.to_pylist()
    known = [look_up(word, begins) for begins in (False, True) for word in distinct]
    of_token = encoded.indices.to_numpy() + len(distinct) * words.begins
    tag = np.array([word.tag for word in known], dtype=np.int64)[of_token]
    plural = np.array([word.plural for word in known], dtype=bool)[of_token]
    acts = np.array([word.acts for word in known], dtype=bool)[of_token]
    lemma = pa.array([word.lemma for word in known], pa.string()).take(pa.array(of_token))
    counts = [float(COUNTS.get(word.lower(), _digits(word))) for word in distinct]
    tag = _in_context(tag, plural, acts, words)
    count = np.where(tag == Tag.NUMERAL, np.array(counts * 2)[of_token], np.nan)
    return Tagged(tag, lemma, plural & is_tag(tag, NOMINAL), count)


def before(values: np.ndarray, words: Words, edge: int) -> np.ndarray:
    """The value of the token before each, `edge` where its sentence begins."""
    found = np.roll(values, 1)
    found[words.begins] = edge
    return found


def after(values: np.ndarray, words: Words, edge: int) -> np.ndarray:
    """The value of the token after each, `edge` where its sentence ends."""
    found = np.roll(values, -1)
    found[words.ends] = edge
    return found


def is_tag(tags: Tags, wanted: Sequence[Tag]) -> Flags:
    """Token by token: one of the wanted ones?"""
    known = np.zeros(len(Tag), dtype=bool)
    known[list(wanted)] = True
    return np.asarray(known[tags])


def _digits(word: str) -> float:
    return float(word) if word.isascii() and word.isdigit() else np.nan


def _in_context(tag: Tags, plural: Flags, acts: Flags, words: Words) -> Tags:
    if not len(tag):
        return tag
    tag = _nouns_after_their_modifiers(tag, words)
    tag = _third_person(tag, plural & acts, words)
    tag = _participles_before_nouns(tag, words)
    tag = _adjectives_alone(tag, words)
    following = after(tag, words, Tag.MARK)
    has = words.among(("has", "have", "had")) & (following == Tag.PARTICIPLE)
    return np.where(has, Tag.AUXILIARY, tag)


def _nouns_after_their_modifiers(tag: Tags, words: Words) -> Tags:
    """`a play`, `two stops`; captions give no orders, so no sentence begins with a verb."""
    previous = before(tag, words, Tag.PREPOSITION)
    verb = is_tag(tag, (Tag.VERB, Tag.VERB_S)) & ~words.among(("has", "have", "had"))
    return np.where(verb & is_tag(previous, (*_BEFORE_NOUN, Tag.PREPOSITION)), Tag.NOUN, tag)


def _third_person(tag: Tags, may_act: Flags, words: Words) -> Tags:
    """`a girl rides a horse`: nothing but a verb can end in -s after one thing."""
    previous, following = before(tag, words, Tag.MARK), after(tag, words, Tag.MARK)
    one = last_index(words.among(_ONE), words) > last_index(~is_tag(tag, _IN_PHRASE), words)
    subject = is_tag(previous, NOMINAL) & (one | (following == Tag.DETERMINER))
    subject |= is_tag(previous, (Tag.PRONOUN, Tag.WHICH))
    acts = may_act & (tag == Tag.NOUN) & subject & is_tag(following, _AFTER_VERB)
    return np.where(acts, Tag.VERB_S, tag)


def _participles_before_nouns(tag: Tags, words: Words) -> Tags:
    """`parked cars`, `a running dog`."""
    previous, following = before(tag, words, Tag.PREPOSITION), after(tag, words, Tag.MARK)
    modifies = is_tag(following, (Tag.ADJECTIVE, Tag.PARTICIPLE, *NOMINAL))
    participle = (tag == Tag.PARTICIPLE) & is_tag(previous, (*_BEFORE_NOUN, Tag.PREPOSITION))
    gerund = (tag == Tag.GERUND) & is_tag(previous, _BEFORE_NOUN)
    return np.where(modifies & (participle | gerund), Tag.ADJECTIVE, tag)


def _adjectives_alone(tag: Tags, words: Words) -> Tags:
    """`an orange on a table`: an adjective that nothing follows is the noun of its article."""
    ends = after(tag, words, Tag.AUXILIARY)
    ends = np.where(after(words.among((".", "!", "?")), words, 0), Tag.AUXILIARY, ends)
    alone = is_tag(ends, (Tag.PREPOSITION, Tag.AUXILIARY, Tag.VERB, Tag.VERB_S))
    article = before(tag, words, Tag.MARK) == Tag.DETERMINER
    return np.where((tag == Tag.ADJECTIVE) & article & alone, Tag.NOUN, tag)


def last_index(mask: Flags, words: Words) -> Rows:
    """Index of the last token before each for which it holds, in its sentence; -1: there is none,
    or it is the token before the sentence."""
    index = np.where(mask, np.arange(len(mask)), -1)
    found = np.roll(np.maximum.accumulate(index), 1)
    found[0] = -1
    return np.where(found >= words.first, found, -1)
