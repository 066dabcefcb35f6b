"""The parser that needs nothing but its lexicon: tags, noun phrases and a dependency tree by rules.

All texts are parsed at once, on columns. The tree is a guess: a noun hangs on the preposition or
verb before it, a modifier on its noun, a preposition on the word it follows.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from schemas.columns import Flags, Rows, is_in
from stages.language.lexicon import Tag, version
from stages.language.parse import Kind, Tokens
from stages.language.tagging import (
    NOMINAL,
    VERBS,
    Tags,
    after,
    before,
    is_tag,
    last_index,
    tagged,
)
from stages.language.tokens import Words, split

RULES = 1
"""Raised by hand when the rules begin to say something else of the same text."""
_NAMED = ("word", "letter", "text", "title", "name", "number", "sign", "brand", "logo")
"""Nouns that stay the head before the name they introduce: `the word STOP`."""
_MODIFIERS = (Tag.DETERMINER, Tag.NUMERAL, Tag.ADJECTIVE)
_FINITE = (Tag.VERB, Tag.VERB_S, Tag.AUXILIARY)
_KINDS = {
    Tag.NOUN: Kind.OBJECT,
    Tag.PROPER: Kind.PROPER_NOUN,
    **dict.fromkeys((Tag.ADJECTIVE, Tag.NUMERAL), Kind.ATTRIBUTE),
    **dict.fromkeys(VERBS, Kind.ACTION),
}


@dataclass(frozen=True, slots=True)
class Chunker:
    """The `Language` that is always there."""

    @property
    def name(self) -> str:
        return "chunker"

    @property
    def version(self) -> str:
        return f"{RULES}+{version()}"

    def parse(self, texts: pa.Array) -> Tokens:
        words = split(texts)
        said = tagged(words)
        phrase, phrase_head = _phrases(said.tag, said.lemma, words)
        kinds = np.array([_KINDS.get(tag, Kind.OTHER) for tag in Tag], dtype=np.int64)
        return Tokens(
            text=words.text,
            start=words.start,
            end=words.end,
            lemma=said.lemma,
            kind=kinds[said.tag],
            plural=said.plural,
            count=said.count,
            tree=partial(_tree, said.tag, phrase, phrase_head, words),
            phrase=phrase,
            phrase_head=phrase_head,
        )


def _phrases(tag: Tags, lemma: pa.Array, words: Words) -> tuple[Rows, Flags]:
    """Number of the noun phrase of each token, -1: none; and which tokens are their main nouns."""
    previous, following = before(tag, words, Tag.MARK), after(tag, words, Tag.MARK)
    very = (tag == Tag.ADVERB) & (previous == Tag.DETERMINER) & (following == Tag.ADJECTIVE)
    inside = is_tag(tag, (*_MODIFIERS, *NOMINAL)) | very
    anew = is_tag(tag, _MODIFIERS) & is_tag(previous, NOMINAL)
    continued = before(inside, words, 0).astype(bool) & ~anew
    run = np.cumsum(inside & ~continued) - 1
    noun = is_tag(tag, NOMINAL)
    named = np.zeros(run.max(initial=-1) + 1, dtype=bool)
    named[run[noun]] = True
    inside &= named[run] if len(named) else False
    last = inside & (after(np.where(inside, run, -1), words, -1) != run)
    head_of_run = np.full(len(named), -1)
    head_of_run[run[last]] = np.flatnonzero(last)
    introduces = inside & is_in(lemma, _NAMED) & (tag == Tag.NOUN) & (following == Tag.PROPER)
    head_of_run[run[introduces]] = np.flatnonzero(introduces)
    phrase_head = np.zeros(len(tag), dtype=bool)
    phrase_head[head_of_run[named]] = True
    number = np.cumsum(named) - 1
    return np.where(inside, number[run] if len(number) else -1, -1), phrase_head


def _tree(tag: Tags, phrase: Rows, phrase_head: Flags, words: Words) -> Rows:
    if not len(tag):
        return np.empty(0, dtype=np.int64)
    here = np.arange(len(tag))
    helper = _helpers(tag, words)
    verb = (is_tag(tag, VERBS) | (tag == Tag.AUXILIARY)) & ~helper
    root = _roots(tag, verb, helper, phrase_head, words)
    content = phrase_head | verb | (tag == Tag.PRONOUN)
    last_content = _or(last_index(content, words), root)
    last_verb = _or(last_index(verb, words), root)

    head = last_content.copy()
    single = phrase_head | (tag == Tag.PRONOUN)
    head[single] = _governors(tag, phrase, phrase_head, verb, last_content, root, words)[single]
    joined = verb & (before(tag, words, Tag.MARK) == Tag.CONJUNCTION)
    head[joined] = last_verb[joined]
    next_verb = after(verb, words, 0).astype(bool)
    forward = (is_tag(tag, (Tag.ADVERB, Tag.WHICH)) & next_verb) | (helper & next_verb)
    forward |= (tag == Tag.ADVERB) & (after(tag, words, Tag.MARK) == Tag.ADJECTIVE)
    head[forward] = here[forward] + 1
    distant = helper & ~next_verb
    head[distant] = here[distant] + 2
    head[(tag == Tag.ADJECTIVE) & (phrase < 0)] = last_verb[(tag == Tag.ADJECTIVE) & (phrase < 0)]
    modifier = (phrase >= 0) & ~phrase_head
    head[modifier] = np.flatnonzero(phrase_head)[phrase[modifier]]
    stop = words.among((".", "!", "?", ";"))
    head[stop] = root[stop]
    return np.where(here == root, here, head)


def _helpers(tag: Tags, words: Words) -> Flags:
    """Auxiliaries of a verb that follows, at once or after one adverb."""
    following = after(tag, words, Tag.MARK)
    second = np.where(following == Tag.ADVERB, after(following, words, Tag.MARK), following)
    helped = is_tag(second, (Tag.GERUND, Tag.PARTICIPLE, Tag.VERB))
    return np.asarray((tag == Tag.AUXILIARY) & helped)


def _roots(tag: Tags, verb: Flags, helper: Flags, phrase_head: Flags, words: Words) -> Rows:
    """For each token the root of its sentence: its first finite verb, else its first noun, else
    its first verb, else its first token."""
    previous = before(helper, words, 0).astype(bool)
    adverb = before(tag, words, Tag.MARK) == Tag.ADVERB
    helped = verb & (previous | (adverb & before(previous, words, 0).astype(bool)))
    finite = verb & (is_tag(tag, _FINITE) | helped)
    rank = np.select([finite, phrase_head, verb], [0, 1, 2], 3)
    ranked = rank * len(tag) + np.arange(len(tag))
    best = np.minimum.reduceat(ranked, np.flatnonzero(words.begins)) % len(tag)
    return np.asarray(best[words.sentence])


def _governors(
    tag: Tags,
    phrase: Rows,
    phrase_head: Flags,
    verb: Flags,
    last_content: Rows,
    root: Rows,
    words: Words,
) -> Rows:
    """The token that the noun phrase of each main noun hangs on."""
    here = np.arange(len(tag))
    first = here.copy()
    starts = np.flatnonzero((phrase >= 0) & (np.diff(phrase, prepend=-2) != 0))
    first[phrase_head] = starts[phrase[phrase_head]]
    ahead = np.maximum(first - 1, 0)
    inside = words.sentence[ahead] == words.sentence
    inside &= ahead < first
    governs = inside & ((tag[ahead] == Tag.PREPOSITION) | verb[ahead])
    joined = inside & ((tag[ahead] == Tag.CONJUNCTION) | words.among((",",))[ahead])
    noun_before = _or(last_index(phrase_head, words)[first], root)
    late = np.where(here > root, last_content[first], root)
    return np.select([governs, joined], [ahead, noun_before], late)


def _or(found: Rows, otherwise: Rows) -> Rows:
    return np.where(found >= 0, found, otherwise)
