"""filter_phrases: triplets whose words, box or number do not hold together."""

from stages.filter_phrases.stage import FilterPhrases

__all__ = ["FilterPhrases"]
