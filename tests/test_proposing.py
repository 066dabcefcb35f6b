"""How a shard's images are handed to the proposers."""

import io
from types import SimpleNamespace

import pytest
from PIL import Image

from annotator.proposing import _batches, _propose_batch
from schemas.annotations import Annotations
from schemas.samples import Sample
from stages.base import finish


def samples(*sides: int | None) -> list[Sample]:
    """Square images of these sides; None is a file that is no image."""
    made = []
    for number, side in enumerate(sides):
        file = io.BytesIO()
        if side:
            Image.new("RGB", (side, side)).save(file, "png")
        made.append(Sample("shard", str(number), {"png": file.getvalue() or b"no image"}))
    return made


@pytest.mark.parametrize(
    ("sides", "sizes"),
    [
        pytest.param((8, 8, 8, 8, 8), [3, 2], id="as many as are liked"),
        pytest.param((8, 100, 8, 8), [2, 2], id="large ones end a batch"),
        pytest.param((8, None, 8, 8), [3, 1], id="a broken one counts"),
        pytest.param((), [], id="none"),
    ],
)
def test_a_batch_ends_with_the_images_or_the_pixels(sides, sizes, monkeypatch):
    monkeypatch.setattr("annotator.proposing.PIXELS_AT_ONCE", 5000)
    batches = list(_batches(iter(samples(*sides)), 3))
    assert [len(batch) for batch in batches] == sizes
    keys = [row["key"] for batch in batches for row, _ in batch]
    assert keys == [str(number) for number in range(len(sides))]


class Proposing:
    """Counts each image, and names how many regions it was shown."""

    samples_at_once = 4

    def propose(self, samples, so_far):
        for _ in samples:
            yield 1
        of_it = {"image_id": samples[0].image_id, "source": "model", "task": "od"}
        return Annotations.of(regions=[{**of_it, "label_no": len(so_far.regions)}])


@pytest.mark.parametrize(
    ("sessions", "counted", "regions"),
    [
        pytest.param(0, [3], [], id="no proposer"),
        pytest.param(1, [1, 1, 1], [0], id="one"),
        pytest.param(2, [1, 1, 1], [0, 1], id="two: an image is done with after the last"),
    ],
)
def test_every_image_of_a_batch_is_counted_once(sessions, counted, regions):
    task = SimpleNamespace(recipe="r", round=0)
    [batch] = _batches(iter(samples(8, None, 8)), 9)
    proposers = [Proposing() for _ in range(sessions)]
    assert list(_propose_batch(batch, proposers, task)) == counted
    found = finish(_propose_batch(batch, proposers, task))
    assert found.regions["label_no"].to_pylist() == regions
    assert len(found.images) == 3
