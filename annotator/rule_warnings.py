"""Rules that a person should look at: those that reject nearly everything, or never say a word."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from schemas.annotations import Annotations
from schemas.tables import HUMAN, LABEL_TABLES, MODEL, REJECTIONS
from stages.base import Finding
from stages.catalogue import AnyJudge

MOST_REJECTED = 0.9
LEAST_REJECTABLE = 100
"""Labels of a task below which a rule may reject them all without a word."""
LEAST_SEEN = 1_000
"""Labels of a kind below which a rule may have nothing to say of them."""

_LABELS = " UNION ALL ".join(
    f"SELECT '{kind}' AS kind, {'NULL' if kind == 'phrase' else 'task'} AS task, "
    f"image_id, source, label_no FROM all_{table} WHERE source <> '{HUMAN}'"
    for kind, table in LABEL_TABLES.items()
)
_REJECTING = f"""
WITH labels AS ({_LABELS}),
seen AS (SELECT kind, task, count(*) AS seen FROM labels GROUP BY ALL),
rejected AS (
    SELECT DISTINCT filter, kind, image_id, source, label_no
    FROM verdicts WHERE verdict IN {REJECTIONS}
),
shares AS (
    SELECT filter, kind, task, count(*) AS rejected
    FROM rejected JOIN labels USING (kind, image_id, source, label_no) GROUP BY ALL
)
SELECT filter, shares.kind, shares.task, rejected, seen
FROM shares JOIN seen
  ON shares.kind = seen.kind AND shares.task IS NOT DISTINCT FROM seen.task
WHERE seen >= {LEAST_REJECTABLE} AND rejected > {MOST_REJECTED} * seen
ORDER BY rejected / seen DESC, seen DESC, filter
"""
_SEEN = f"SELECT kind, count(*) FROM ({_LABELS}) GROUP BY kind"


@dataclass(frozen=True)
class RuleWarning:
    """A rule that rejects `rejected` of the `seen` labels that no person made: of a kind and a task
    where it rejects nearly all, of a kind where it has not even flagged one."""

    filter: str
    kind: str
    task: str | None
    rejected: int
    seen: int

    @property
    def sentence(self) -> str:
        of = f"the {self.seen:,} {LABEL_TABLES[self.kind]}{f' of {self.task}' if self.task else ''}"
        if self.rejected:
            share = f"{self.rejected / self.seen:.0%}"
            return (
                f"{self.filter} rejects {share} of {of}: look at some of them with `annotator why`;"
                " if they are right, loosen the rule or leave it out, else the model is to blame"
            )
        return f"{self.filter} says nothing of {of}: is its limit meant so, or is it of no use?"

    def to_json(self) -> dict[str, object]:
        share = self.rejected / self.seen
        return {**vars(self), "share": share, "sentence": self.sentence}


def rule_warnings(
    connection: duckdb.DuckDBPyConnection, judges: Sequence[AnyJudge]
) -> tuple[RuleWarning, ...]:
    """Of the version that the connection shows; `judges` say which rules might have spoken.

    Only filters are asked why they are silent: that no person labelled, or no second source agreed,
    is no fault of a rule.
    """
    loud = [RuleWarning(*row) for row in connection.execute(_REJECTING).fetchall()]
    seen = dict(connection.execute(_SEEN).fetchall())
    spoke = connection.execute("SELECT DISTINCT kind, filter FROM verdicts").fetchall()
    silent = [
        RuleWarning(rule, kind, None, 0, seen[kind])
        for kind, rule in sorted(set(_rules(judges)) - set(spoke))
        if seen.get(kind, 0) >= LEAST_SEEN
    ]
    return (*loud, *silent)


def warning_lines(warnings: Iterable[RuleWarning]) -> Iterator[str]:
    """One line for each rule that rejects nearly all, and one for all that are silent of a kind."""
    silent: dict[tuple[str, int], list[str]] = {}
    for warning in warnings:
        if warning.rejected:
            yield f"warning: {warning.sentence}"
        else:
            silent.setdefault((warning.kind, warning.seen), []).append(warning.filter)
    for (kind, seen), rules in silent.items():
        yield (
            f"these rules say nothing of the {seen:,} {LABEL_TABLES[kind]}, by their limits or "
            f"because nothing is wrong: {', '.join(rules)}"
        )


def _rules(judges: Iterable[AnyJudge]) -> Iterator[tuple[str, str]]:
    """Kind and rule of all that filters look for with their options, found by listening to them."""
    for judge in judges:
        if judge.stage.startswith("filter_"):
            heard: set[tuple[str, str]] = set()
            _listening(judge, heard).judge(_SAMPLE)
            yield from heard


def _listening(judge: AnyJudge, heard: set[tuple[str, str]]) -> AnyJudge:
    """The same judge, which notes the rules that it asks, whatever they find."""

    class Listening(type(judge)):  # type: ignore[misc]  # its base is known at run time only
        def verdicts(self, labels: pa.Table, kind: str, findings: Iterable[Finding]) -> pa.Table:
            def noted() -> Iterator[Finding]:
                for finding in findings:
                    heard.add((kind, f"{judge.stage}.{finding.rule}"))
                    yield finding

            return super().verdicts(labels, kind, noted())

    listening: AnyJudge = Listening.model_construct(**dict(judge))
    return listening


_LABEL = {"image_id": "sample/0", "source": MODEL, "label_no": 0, "score": 0.5}
_BOX = {"x0": 1.0, "y0": 1.0, "x1": 99.0, "y1": 99.0, "shape": "box", "position": 0}
_TIE = {"text_source": MODEL, "text_no": 0, "region_source": MODEL, "region_no": 0}
_SAMPLE = Annotations.of(
    images=[{"image_id": "sample/0", "width": 100, "height": 100}],
    texts=[{**_LABEL, "task": "caption", "level": "brief", "text": "a dog"}],
    regions=[{**_LABEL, **_BOX, "task": "od", "category": "dog"}],
    phrases=[{**_LABEL, **_TIE, "phrase": "a dog", "char_start": 0, "char_end": 5}],
)
"""One sound label of each kind: rules are asked only where there is something to judge."""
