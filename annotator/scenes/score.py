"""Found boxes against the truth of the scenes: precision and recall."""

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from annotator.evaluation.detection import Counts, count_right
from annotator.evaluation.tables import found_and_true
from annotator.scenes.truth import scene_truth
from schemas.tables import MODEL


def score_version(connection: duckdb.DuckDBPyConnection) -> tuple[Counts, Counts] | None:
    """The model's boxes as proposed and as kept; None where not every image is a scene, or no box
    was proposed: most likely none was asked for.

    Only scenes without human labels count: on the others the truth itself stands in the tables.
    """
    images = connection.execute("SELECT image_id, url, state FROM images").fetchall()
    if not images or not all((url or "").startswith("scenes://") for _, url, _ in images):
        return None
    proposed, kept = (_boxes(connection, table) for table in ("all_regions", "regions"))
    if not proposed.num_rows:
        return None
    unseen = [image for image, _, state in images if state != "verified"]
    truth = pa.concat_tables([scene_truth(url) for url in {url for _, url, _ in images}])
    truth = truth.filter(pc.is_in(truth["image_id"], pa.array(unseen, pa.string())))
    return (
        count_right(*found_and_true(proposed, truth)),
        count_right(*found_and_true(kept, truth)),
    )


def _boxes(connection: duckdb.DuckDBPyConnection, table: str) -> pa.Table:
    return connection.execute(
        f"""SELECT r.* FROM {table} AS r JOIN images AS i USING (image_id)
        WHERE i.state <> 'verified' AND r.source = ? AND r.task = 'od'""",
        [MODEL],
    ).to_arrow_table()
