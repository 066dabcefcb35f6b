"""Judge stored candidates again by the pipeline's judges of now, or say what that would change."""

from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from annotator.config import Config
from annotator.errors import AnnotatorError
from annotator.parts import find_part
from annotator.plan import Plan, PlannedShard, plan_run
from annotator.runner import RunResult, Step, carry_out, make_parts, shard_commit
from annotator.store import Diff, Store, lake
from annotator.store.diff import diff
from annotator.store.preview import attach_preview
from annotator.summary import Summary, summarise
from annotator.worker import judge_shard
from schemas.tables import LABEL_TABLES, REJECTIONS

_BY_RULE = f"""
SELECT filter,
       (count(DISTINCT label_id) FILTER (change = 'rejected'))::BIGINT,
       (count(DISTINCT label_id) FILTER (change = 'restored'))::BIGINT
FROM (
    SELECT change, v.label_id, v.filter FROM changes c
    JOIN after.verdicts v ON v.label_id = c.label_id_after
    WHERE change = 'rejected' AND v.verdict IN {REJECTIONS}
    UNION ALL
    SELECT change, v.label_id, v.filter FROM changes c
    JOIN before.verdicts v ON v.label_id = c.label_id_before
    WHERE change = 'restored' AND v.verdict IN {REJECTIONS}
)
GROUP BY filter ORDER BY 2 DESC, 3 DESC, 1
"""


@dataclass(frozen=True)
class RuleChange:
    """Labels that a rule newly rejects, and those kept now that it rejected before.

    A label that several rules reject counts for each of them.
    """

    filter: str
    rejected: int
    restored: int


@dataclass(frozen=True)
class Preview:
    """What judging again would make of the tables; nothing is committed.

    `version` is the one that it is held against, `shards` those that a commit would take in,
    `summary` of the tables as they would be. `failed` says why by shard: it stays as it is.
    """

    plan: Plan
    version: int
    shards: int
    summary: Summary
    rules: tuple[RuleChange, ...]
    diff: Diff
    failed: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "pipeline": self.plan.name,
            "table": str(self.plan.table),
            "current": self.version,
            "shards": self.shards,
            "failed": self.failed,
            "rules": [asdict(rule) for rule in self.rules],
            "counts": [asdict(row) for row in self.diff.counts],
            "summary": self.summary.to_json(),
        }


def plan_judging(config: Config, pipeline: str | None = None) -> Plan:
    """AnnotatorError where a shard has no candidates yet of what the pipeline proposes now."""
    plan = plan_run(config, pipeline)
    if missing := plan.count("propose"):
        raise AnnotatorError(
            f"{missing} of {len(plan.shards)} shards of {plan.name} have no stored candidates of "
            f"these proposers: `annotator run {plan.name}` makes them"
        )
    return plan


def judge(plan: Plan, executor_name: str = "local", workers: int = 1) -> RunResult:
    """Judge the stored candidates, then one commit; no model is loaded."""
    return carry_out(plan, JUDGE, executor_name, workers)


def preview(plan: Plan, executor_name: str = "local", workers: int = 1) -> Preview:
    """Judge the stored candidates, and hold the outcome against the current version.

    The verdicts stay as parts, so that `judge` after it has only the commit left to do.
    """
    store = Store.open(plan.table)
    version = store.latest()
    result = make_parts(plan, JUDGE, executor_name, workers)
    tasks = [shard.task for shard in result.plan.shards if shard.name not in result.failed]
    entries = [shard_commit(task) for task in tasks]
    with closing(lake.connect()) as connection:
        store.attach(connection, "before", version)
        shards = attach_preview(connection, entries)
        found = diff(connection)
        rules = tuple(RuleChange(*row) for row in connection.execute(_BY_RULE).fetchall())
        connection.execute("USE after")
        summary = summarise(connection, result.plan.judges)
    return Preview(result.plan, version.number, shards, summary, rules, found, result.failed)


def _labels(shard: PlannedShard) -> int | None:
    """How many the shard has, of every kind."""
    part = find_part(shard.task.parts, shard.name, shard.task.candidates_key)
    return sum(part.manifest.rows[table] for table in LABEL_TABLES.values()) if part else None


JUDGE = Step(judge_shard, "labels", _labels)
"""Judge what is stored; propose nothing."""
