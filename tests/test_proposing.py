"""How a shard's images are handed to the proposers."""

import io

import pytest
from PIL import Image

from annotator.proposing import _batches
from schemas.samples import Sample


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
