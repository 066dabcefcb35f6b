"""What `plan`, `run` and `judge` say of the rules before anything is judged."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from stored_candidates import make_project, write_pipelines

from annotator.cli.judge import judge
from annotator.cli.planned import WAITING, value_text
from annotator.cli.run import plan
from stages.catalogue import JUDGES

MEASURED = "[{stage: filter_regions, min_side: 4}, {stage: filter_scores, lowest_share: 0.5}]"


def say(verb: str, config: Path, *options: str) -> tuple[list[str], str]:
    """Its lines on stdout, and all of stderr."""
    words = ["drawn", "--config", str(config), *options]
    done = CliRunner().invoke({"plan": plan, "judge": judge}[verb], words, catch_exceptions=False)
    return done.stdout.splitlines(), done.stderr


def rows(lines: list[str]) -> dict[tuple[str, str], str]:
    """Stage and option → the value that the table of `plan` prints."""
    [head] = [number for number, line in enumerate(lines) if line.startswith("judge")]
    place = lines[head].index("option"), lines[head].index("value")
    stage, found = "", {}
    for line in lines[head + 1 :]:
        stage = line[: place[0]].strip() or stage
        found[stage, line[place[0] : place[1]].strip()] = line[place[1] :]
    return found


def test_a_profile_is_written_out_with_every_option(tmp_path: Path) -> None:
    lines, _ = say("plan", make_project(tmp_path / "project", "strict"))
    shown = rows(lines)
    assert {stage for stage, _ in shown} == set(JUDGES)
    assert [stage for stage, option in shown if option == "verdict_at_most"] == list(JUDGES)
    assert shown["filter_regions", "min_side"] == "8"
    assert shown["filter_texts", "length"] == "off"
    assert any(line.startswith("judge strict") for line in lines)


def test_constants_are_shown_once_they_are_measured(tmp_path: Path) -> None:
    config = make_project(tmp_path / "project", MEASURED)
    lines, _ = say("plan", config)
    assert WAITING in lines
    assert rows(lines)["filter_scores", "r7_limits"] == "off"

    _, told = say("judge", config)
    assert "\njudge: filter_regions (min_side 4), filter_scores (lowest_share 0.5)\n" in told
    lines, _ = say("plan", config)
    assert WAITING not in lines
    report = json.loads("\n".join(say("plan", config, "--json")[0]))
    assert report["judge"][0]["min_side"] == 4
    limit = report["constants"]["filter_scores.r7_limits"]["model/od"]
    assert 0 < limit < 1
    assert rows(lines)["filter_scores", "r7_limits"] == f"model/od {limit:g} (measured)"
    _, told = say("judge", config)
    assert f"filter_scores (lowest_share 0.5; r7_limits model/od {limit:g})" in told


def test_a_pipeline_without_rules_says_so(tmp_path: Path) -> None:
    lines, _ = say("plan", write_pipelines(tmp_path / "project", "[]"))
    assert lines[-1] == "judge: no rules"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "off"),
        (True, "on"),
        (0.30000000000000004, "0.3"),
        (("a", "b"), "a, b"),
        ({"brief": (3, 24)}, "brief 3, 24"),
        ((), "none"),
        (tuple("abcdefg"), "a, b, c, d, e, f, … (7)"),
    ],
)
def test_a_value_for_reading(value: object, text: str) -> None:
    assert value_text(value) == text
