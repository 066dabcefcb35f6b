"""filter_texts: captions that are broken, of the wrong size, looping, empty of things, doubtful."""

from stages.filter_texts.stage import FilterTexts

__all__ = ["FilterTexts"]
