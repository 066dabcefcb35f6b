"""What a word is by itself: Brill's lexicon, which ships in the wheel of textblob."""

from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache
from importlib.metadata import distribution
from pathlib import Path

WHEEL = "textblob"
_FILE = "textblob/en/en-lexicon.txt"


class Tag(IntEnum):
    """Part of speech, as coarse as the rules need it."""

    OTHER = 0
    DETERMINER = 1
    NUMERAL = 2
    ADJECTIVE = 3
    NOUN = 4
    PROPER = 5
    VERB = 6  # base or present plural
    VERB_S = 7  # third person
    GERUND = 8
    PARTICIPLE = 9  # or past
    AUXILIARY = 10
    ADVERB = 11
    PREPOSITION = 12
    CONJUNCTION = 13
    PRONOUN = 14
    WHICH = 15
    MARK = 16


_PENN = {
    **dict.fromkeys(("DT", "PDT", "PRP$", "WP$"), Tag.DETERMINER),
    "CD": Tag.NUMERAL,
    **dict.fromkeys(("JJ", "JJR", "JJS"), Tag.ADJECTIVE),
    **dict.fromkeys(("NN", "NNS"), Tag.NOUN),
    **dict.fromkeys(("NNP", "NNPS"), Tag.PROPER),
    **dict.fromkeys(("VB", "VBP"), Tag.VERB),
    "VBZ": Tag.VERB_S,
    "VBG": Tag.GERUND,
    **dict.fromkeys(("VBN", "VBD"), Tag.PARTICIPLE),
    "MD": Tag.AUXILIARY,
    **dict.fromkeys(("RB", "RBR", "RBS", "WRB", "RP"), Tag.ADVERB),
    **dict.fromkeys(("IN", "TO"), Tag.PREPOSITION),
    "CC": Tag.CONJUNCTION,
    **dict.fromkeys(("PRP", "EX", "WP"), Tag.PRONOUN),
    "WDT": Tag.WHICH,
}


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_CORRECTIONS = {
    **dict.fromkeys(_words("am is are was were be been being 's 're do does did"), Tag.AUXILIARY),
    **dict.fromkeys(_words("left right top bottom front back middle center cross"), Tag.NOUN),
    **dict.fromkeys(_words("leaves close-up closeup teal"), Tag.NOUN),
    **dict.fromkeys(
        _words("beige gray grey brown pink purple golden wooden dotted"), Tag.ADJECTIVE
    ),
    **dict.fromkeys(_words("colorful blurry blurred striped plain checkered"), Tag.ADJECTIVE),
    **dict.fromkeys(_words("that who which"), Tag.WHICH),
    **dict.fromkeys(_words("next beside besides like near behind inside outside"), Tag.PREPOSITION),
    **dict.fromkeys(_words("has have had"), Tag.VERB_S),
    "there": Tag.PRONOUN,
    "i": Tag.PRONOUN,
}
"""Where a caption means something else than the newspapers that the lexicon was counted in."""

_ENDINGS = (
    ("ing", Tag.GERUND),
    ("ed", Tag.PARTICIPLE),
    ("ly", Tag.ADVERB),
    ("ful", Tag.ADJECTIVE),
    ("ous", Tag.ADJECTIVE),
    ("ish", Tag.ADJECTIVE),
    ("able", Tag.ADJECTIVE),
    ("less", Tag.ADJECTIVE),
)

_COUNTS = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
)
COUNTS = {word: number for number, word in enumerate(_COUNTS)}

_PLURALS = dict(
    pair.split(":")
    for pair in _words(
        "men:man women:woman people:person children:child feet:foot teeth:tooth geese:goose "
        "mice:mouse policemen:policeman policewomen:policewoman firemen:fireman oxen:ox "
        "cacti:cactus dice:die skis:ski buses:bus knives:knife wives:wife lives:life leaves:leaf "
        "shelves:shelf wolves:wolf loaves:loaf halves:half scarves:scarf calves:calf "
        "series:series species:species"
    )
)
_SINGULAR_IN_S = ("ss", "us", "is")
_SIBILANTS = ("s", "x", "z", "ch", "sh")


@dataclass(frozen=True, slots=True)
class Word:
    """`acts`: may it be a verb as well?"""

    tag: Tag
    lemma: str
    plural: bool
    acts: bool


@lru_cache(maxsize=1 << 17)
def look_up(word: str, begins: bool) -> Word:
    """A word as written; `begins`: its capital may be that of a sentence."""
    lower = word.lower()
    tag = _tag(word, lower, begins)
    lemma, plural = _singular(lower) if tag in (Tag.NOUN, Tag.VERB_S) else (lower, False)
    if lower.endswith(("'s", "\N{RIGHT SINGLE QUOTATION MARK}s")) and len(lower) > 2:
        return Word(Tag.NOUN if tag != Tag.PROPER else tag, lower[:-2], False, False)
    return Word(tag, lemma, plural, _acts(lower))


def version() -> str:
    """Of the wheel that the lexicon comes in."""
    return distribution(WHEEL).version


def _tag(word: str, lower: str, begins: bool) -> Tag:
    if not any(letter.isalnum() for letter in word):
        return Tag.MARK
    if lower[0].isdigit() or lower in COUNTS:
        return Tag.NUMERAL
    if lower in _CORRECTIONS:
        return _CORRECTIONS[lower]
    if word.isupper() and len(word) > 1:
        return Tag.PROPER
    lexicon = _lexicon()
    if word[0].isupper() and not begins:
        return _PENN.get(lexicon.get(word, "NNP"), Tag.OTHER)
    known = lexicon.get(lower) or lexicon.get(word)
    return _PENN.get(known, Tag.OTHER) if known else _by_ending(lower)


def _by_ending(lower: str) -> Tag:
    first, hyphen, last = lower.rpartition("-")
    if hyphen and first:
        tag = look_up(last, False).tag if last else Tag.NOUN
        return Tag.ADJECTIVE if tag in (Tag.PARTICIPLE, Tag.GERUND) else tag
    return next((tag for ending, tag in _ENDINGS if lower.endswith(ending)), Tag.NOUN)


def _singular(lower: str) -> tuple[str, bool]:
    """Of a noun, and whether it was a plural."""
    if lower in _PLURALS:
        return _PLURALS[lower], True
    lexicon = _lexicon()
    if lexicon.get(lower) == "NN" or not lower.endswith("s") or lower.endswith(_SINGULAR_IN_S):
        return lower, lexicon.get(lower) == "NNS"
    stem, short = lower[:-1], lower[:-2]
    if stem in lexicon or not lower.endswith("es"):
        return stem, True
    if lower.endswith("ies"):
        return f"{lower[:-3]}y", True
    return (short if short in lexicon or short.endswith(_SIBILANTS) else stem), True


def _acts(lower: str) -> bool:
    """A verb has a form in -ing that the lexicon knows."""
    lexicon, stem = _lexicon(), lower.removesuffix("s")
    stems = (stem, stem.removesuffix("e"), f"{stem}{stem[-1:]}", lower.removesuffix("es"))
    return any(lexicon.get(f"{one}ing") == "VBG" for one in stems)


@cache
def _lexicon() -> dict[str, str]:
    """The commonest tag of each word, as the Penn Treebank names them."""
    path = Path(str(distribution(WHEEL).locate_file(_FILE)))
    lines = (line.split(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {parts[0]: parts[1].partition("|")[0] for parts in lines if len(parts) == 2 and parts[0]}
