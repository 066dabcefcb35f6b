from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import spacy
from spacy.tokens import Doc

from stages.errors import StageError
from stages.language import Kind, language_named, parse, parser_identity
from stages.language.spacy_pipeline import SpacyPipeline

BLANK = spacy.blank("en")
TEXT = "Two young girls ride\n a running horse . STOP"


def doc_of(text):
    """What a trained pipeline might say of the one text that is not empty."""
    if not text:
        return Doc(BLANK.vocab)
    return Doc(
        BLANK.vocab,
        words=["Two", "young", "girls", "ride", "\n", "a", "running", "horse", ".", "STOP"],
        spaces=[True, True, True, False, True, True, True, True, True, False],
        tags=["CD", "JJ", "NNS", "VBP", "_SP", "DT", "VBG", "NN", ".", "NNP"],
        pos=["NUM", "ADJ", "NOUN", "VERB", "SPACE", "DET", "VERB", "NOUN", "PUNCT", "PROPN"],
        lemmas=["two", "young", "girl", "ride", "\n", "a", "run", "horse", ".", "STOP"],
        heads=[2, 2, 3, 3, 3, 7, 7, 3, 3, 9],
        deps=["nummod", "amod", "nsubj", "ROOT", "dep", "det", "amod", "dobj", "punct", "ROOT"],
    )


def pipeline():
    fake = SimpleNamespace(max_length=1000, pipe=lambda texts, batch_size: map(doc_of, texts))
    return SpacyPipeline("spacy", "0", fake)


def test_a_parse_of_spacy_answers_as_the_port_says():
    parsed = parse(pipeline(), pa.array(["", TEXT, None]))
    tokens = parsed.tokens
    said = [TEXT[a:b] for a, b in zip(tokens.start, tokens.end, strict=True)]
    assert said == ["Two", "young", "girls", "ride", "a", "running", "horse", ".", "STOP"]
    kinds = {kind: [said[i] for i in np.flatnonzero(tokens.kind == kind)] for kind in Kind}
    assert kinds == {
        Kind.OTHER: ["a", "."],
        Kind.OBJECT: ["girls", "horse"],
        Kind.ATTRIBUTE: ["Two", "young", "running"],
        Kind.ACTION: ["ride"],
        Kind.PROPER_NOUN: ["STOP"],
    }
    assert tokens.degree.tolist() == [1, 1, 3, 3, 1, 1, 3, 1, 0]
    assert tokens.phrase.tolist() == [0, 0, 0, -1, 1, 1, 1, -1, 2]
    assert [said[i] for i in np.flatnonzero(tokens.phrase_head)] == ["girls", "horse", "STOP"]
    assert tokens.plural.tolist() == [i == 2 for i in range(9)]
    assert tokens.count[0] == 2
    assert np.isnan(tokens.count[1:]).all()
    assert parsed.heads().to_pylist() == [None, "girl", None]
    assert parsed.count(Kind.OBJECT).tolist() == [0, 2, 0]


def test_a_pipeline_that_is_not_there_is_named():
    with pytest.raises(StageError, match="no pipeline 'en_no_such': python -m spacy download"):
        language_named("en_no_such")


def test_a_pipeline_without_a_parser_is_refused(tmp_path):
    BLANK.to_disk(tmp_path / "blank")
    with pytest.raises(StageError, match="has no parser"):
        language_named(str(tmp_path / "blank"))


def test_a_recipe_names_the_pipeline_and_both_versions(tmp_path):
    made = spacy.blank("en")
    made.add_pipe("parser").add_label("nsubj")
    made.initialize()
    made.meta["name"] = "tiny"
    made.meta["version"] = "1.2.3"
    made.to_disk(tmp_path / "tiny")
    identity = parser_identity(str(tmp_path / "tiny"))
    assert identity == {"name": "spacy", "version": f"{spacy.__version__}+en_tiny-1.2.3"}
