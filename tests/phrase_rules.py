"""Rules on phrases one at a time, and phrases of one text, for their tests."""

from label_rows import annotations, region, text

from stages.filter_phrases import FilterPhrases

TOLD = ("filter", "verdict", "value", "threshold", "detail")
NO_RULES = {
    "one_token_off": False,
    "banned_phrases": None,
    "banned_heads": None,
    "noun_phrase": False,
    "max_area": None,
    "collapse_iou": None,
    "witnesses": None,
    "attributes": False,
    "contained": False,
    "number": False,
}


def only(**rules):
    return FilterPhrases(**{**NO_RULES, **rules})


def tied(*phrases, box=(0, 0, 90, 90), **rows):
    """Phrases of one text, by default all about one region."""
    return annotations(
        **{"texts": [text()], "regions": [region(*box)], "phrases": list(phrases), **rows}
    )


def of_phrases(verdicts):
    return [row for row in verdicts if row[1] != "filter_phrases.g12_empty"]
