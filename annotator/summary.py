"""What a version holds, counted for a person: image states, labels by kind, the funnel."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import duckdb

from annotator.evaluation.detection import Counts
from annotator.rule_warnings import RuleWarning, rule_warnings, warning_lines
from annotator.scenes.score import score_version
from schemas.tables import IMAGE_STATES, LABEL_TABLES, REJECTIONS
from stages.catalogue import AnyJudge

_REMARKED = "malformed_output"
_FUNNEL = f"""
WITH rejected_by_one AS (
    SELECT image_id, kind, source, label_no, min(filter) AS filter
    FROM verdicts WHERE verdict IN {REJECTIONS}
    GROUP BY ALL HAVING count(DISTINCT filter) = 1
)
SELECT filter,
       count(*) FILTER (verdict = 'flag') AS flagged,
       count(*) FILTER (verdict = 'quarantine') AS quarantined,
       count(*) FILTER (verdict = 'drop') AS dropped,
       (SELECT count(*) FROM rejected_by_one r WHERE r.filter = verdicts.filter) AS alone
FROM verdicts
GROUP BY filter ORDER BY quarantined + dropped DESC, flagged DESC, filter
"""


@dataclass(frozen=True)
class LabelCount:
    """Labels of one kind from one source."""

    kind: str
    source: str
    all: int
    kept: int


@dataclass(frozen=True)
class RuleCount:
    """Verdicts of one rule; `alone`: labels that no other rule rejects."""

    filter: str
    flagged: int
    quarantined: int
    dropped: int
    alone: int


@dataclass(frozen=True)
class Summary:
    """Counts over one version of a table store."""

    shards: int
    images: dict[str, int]
    labels: tuple[LabelCount, ...]
    funnel: tuple[RuleCount, ...]
    problems: dict[str, int]
    truth: tuple[Counts, Counts] | None = None
    """The model's boxes as proposed and as kept, where the images are scenes."""
    warnings: tuple[RuleWarning, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "warnings": [warning.to_json() for warning in self.warnings]}


def summarise(connection: duckdb.DuckDBPyConnection, judges: Sequence[AnyJudge] = ()) -> Summary:
    """Counts of the version that the connection shows (`Store.connect`); `judges` are those whose
    rules may be warned of for their silence."""
    states = dict(_rows(connection, "SELECT state, count(*) FROM images GROUP BY ALL"))
    (shards,) = _rows(connection, "SELECT count(DISTINCT shard) FROM images")[0]
    problems = "SELECT kind, count(*) FROM problems GROUP BY ALL ORDER BY 2 DESC, 1"
    return Summary(
        shards=shards,
        images={state: states.get(state, 0) for state in IMAGE_STATES},
        labels=tuple(_label_counts(connection)),
        funnel=tuple(RuleCount(*row) for row in _rows(connection, _FUNNEL)),
        problems=dict(_rows(connection, problems)),
        truth=score_version(connection),
        warnings=rule_warnings(connection, judges),
    )


def _rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql).fetchall()


def _label_counts(connection: duckdb.DuckDBPyConnection) -> Iterable[LabelCount]:
    for kind, table in LABEL_TABLES.items():
        kept = dict(_rows(connection, f"SELECT source, count(*) FROM {table} GROUP BY ALL"))
        every = f"SELECT source, count(*) FROM all_{table} GROUP BY ALL ORDER BY 1"
        for source, count in _rows(connection, every):
            yield LabelCount(kind, source, count, kept.get(source, 0))


def render(summary: Summary) -> str:
    """The summary as lines for a terminal."""
    blocks = [
        "images   " + " · ".join(f"{count:,} {state}" for state, count in summary.images.items()),
        aligned(
            ("labels", "source", "all", "kept", ""),
            [
                (label.kind, label.source, label.all, label.kept, _share(label.kept, label.all))
                for label in summary.labels
            ],
            words=2,
        ),
    ]
    if summary.funnel:
        blocks.append(
            aligned(
                ("filter", "flag", "quarantine", "drop", "by it alone"),
                [(r.filter, r.flagged, r.quarantined, r.dropped, r.alone) for r in summary.funnel],
                words=1,
            )
        )
    if summary.problems:
        blocks.append("\n".join(_problem_lines(summary.problems)))
    if summary.truth:
        blocks.append(_truth_line(*summary.truth))
    if summary.warnings:
        blocks.append("\n".join(warning_lines(summary.warnings)))
    return "\n\n".join(blocks)


def _problem_lines(problems: Mapping[str, int]) -> Iterator[str]:
    """An answer that was cut, or is malformed in a place, is only remarked on: its labels stand."""
    lost = {kind: count for kind, count in problems.items() if kind != _REMARKED}
    if lost:
        counts = " · ".join(f"{count:,} {kind}" for kind, count in lost.items())
        yield f"set aside, with the reason in `problems`: {counts}"
    if remarked := problems.get(_REMARKED):
        yield (
            "answers of the model that were cut or are malformed in part, "
            f"with the place in `problems`: {remarked:,}"
        )


def _truth_line(proposed: Counts, kept: Counts) -> str:
    said = " → ".join(
        f"{name} precision {_figure(score.precision)}, recall {_figure(score.recall)}"
        for name, score in (("proposed", proposed), ("kept", kept))
    )
    return f"boxes against the scenes' truth, where no person had labelled: {said}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""


def aligned(head: Sequence[str], rows: Sequence[Sequence[object]], words: int) -> str:
    """Aligned columns: the first `words` of them text, the rest numbers."""
    cells = [list(head), *([f"{c:,}" if isinstance(c, int) else str(c) for c in r] for r in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join(lines)
