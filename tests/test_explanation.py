"""What `annotator why` says of a label, against rows written by hand."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from small_tables import entry_of, shard_tables

from annotator.cli.why import why
from annotator.errors import QueryError
from annotator.explanation import explain
from annotator.store import Store
from schemas.annotations import table_of

DIGEST = "9bbc2952"
RECIPES = {"first": {"propose": [{"stage": "florence2", "model": {"digest": DIGEST}}]}}
LABEL = {"image_id": "s0/a/b", "shard": "s0", "source": "model", "recipe": "first", "round": 2}
REGION = {
    **LABEL,
    "label_no": 3,
    "task": "od",
    "category": "dog",
    "shape": "box",
    "x0": 1.0,
    "y0": 2.0,
    "x1": 30.0,
    "y1": 4.5,
    "score": 0.25,
    "parent": "model/text/0",
}
PERSONS = {"image_id": "s0/a/b", "shard": "s0", "source": "human", "label_no": 0, "text": "a dog"}
PHRASE = {
    **LABEL,
    "label_no": 0,
    "phrase": "dog",
    "char_start": 2,
    "char_end": 5,
    "text_source": "human",
    "text_no": 0,
    "region_source": "model",
    "region_no": 3,
}


def verdict(rule: str, verdict: str, value: float, threshold: float) -> dict[str, Any]:
    label = {name: LABEL[name] for name in ("image_id", "shard", "source", "recipe")}
    said = {"filter": rule, "verdict": verdict, "value": value, "threshold": threshold}
    return {**label, "kind": "region", "label_no": 3, **said}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """One image, whose key has a slash, with a text, a region and a phrase; version 2 is kinder."""
    store = Store.create_or_open(tmp_path_factory.mktemp("tables") / "cells")
    image = {"image_id": "s0/a/b", "shard": "s0", "key": "a/b", "url": "s0.tar"}
    size = {"width": 100, "height": 50, "state": "labelled"}
    drop = verdict("filter_regions.r2_side", "drop", 2.5, 8.0)
    flag = verdict("filter_a.remark", "flag", float("nan"), 1.0)
    for recipe, verdicts in (("first", [flag, drop]), ("second", [flag])):
        tables = shard_tables("s0", recipe, texts=[]) | {
            "images": table_of("images", [image | size]),
            "texts": table_of("texts", [PERSONS]),
            "regions": table_of("regions", [REGION]),
            "phrases": table_of("phrases", [PHRASE]),
            "verdicts": table_of("verdicts", verdicts),
        }
        entry = entry_of(store.root, "s0", recipe, tables)
        store.commit([entry], recipes=RECIPES, message="a run", extra={})
    return store


def say(store: Store, label: str, *options: str) -> str:
    words = [label, "--table", str(store.root), *options]
    return CliRunner().invoke(why, words, catch_exceptions=False).stdout


def test_a_rejected_region_in_plain_words(store: Store) -> None:
    assert say(store, "s0/a/b/model/region/3", "--version", "1").splitlines() == [
        "s0/a/b/model/region/3 in version 1: not kept, by filter_regions.r2_side",
        "",
        "kind       region",
        "category   dog",
        "task       od",
        "box        1.0 2.0 30.0 4.5 (x0 y0 x1 y1, pixels)",
        "image      s0/a/b, 100 x 50 pixels, labelled, s0.tar",
        "parent     s0/a/b/model/text/0",
        "source     model",
        f"recipe     first, round 2, stages florence2, model {DIGEST}",
        "scores     score 0.25",
        "",
        "verdict  rule                    value  threshold  detail",
        "───────  ──────────────────────  ─────  ─────────  ──────",
        "drop     filter_regions.r2_side    2.5          8    NULL",
        "flag     filter_a.remark           nan          1    NULL",
    ]


def test_the_same_label_is_kept_in_the_latest_version(store: Store) -> None:
    told = json.loads(say(store, "s0/a/b/model/region/3", "--json"))
    assert (told["version"], told["kept"], told["models"]) == (2, True, [DIGEST])
    [remark] = told["verdicts"]
    assert (remark["filter"], remark["value"]) == ("filter_a.remark", None)


def test_a_persons_text_has_no_recipe_no_score_and_no_verdict(store: Store) -> None:
    lines = say(store, "s0/a/b/human/text/0").splitlines()
    assert lines[0] == "s0/a/b/human/text/0 in version 2: kept"
    assert "recipe     none: no pipeline made it" in lines
    assert "scores     none" in lines
    assert lines[-1] == "no rule has anything to say against it"


def test_a_phrase_names_its_text_and_its_region(store: Store) -> None:
    lines = say(store, "s0/a/b/model/phrase/0").splitlines()
    assert "phrase     dog" in lines
    assert "span       characters 2 to 5 of the text" in lines
    assert "text       s0/a/b/human/text/0" in lines
    assert "region     s0/a/b/model/region/3" in lines


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("s0/a/b", "'s0/a/b' is no label's id: they are as shard/key/model/region/0"),
        ("s0/a/b/model/boxes/0", "is no label's id"),
        ("s0/a/b/model/region/x", "is no label's id"),
        ("s0/a/b/model/region/4", "s0/a/b/model/region/4: version 2 has no such label: "),
    ],
)
def test_an_id_that_there_is_not_gets_a_sentence(store: Store, label: str, sentence: str) -> None:
    with pytest.raises(QueryError) as error:
        explain(store, label)
    assert sentence in str(error.value)
