"""Pixels as the vision tower sees them, against the image processor's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from stages.florence2.pixels import Pixels

FLORENCE = {
    "size": {"height": 768, "width": 768},
    "resample": 3,
    "do_center_crop": False,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
IMAGES = [
    Image.fromarray(np.random.default_rng(side).integers(0, 256, (*shape, 3), dtype=np.uint8))
    for side, shape in enumerate(((31, 1000), (1, 1), (768, 768), (900, 20)))
]


def pixels_of(lively, **options):
    processor = CLIPImageProcessorPil(**{**FLORENCE, **options})
    return processor, Pixels(replace(lively, image_processor=processor))


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize(
    ("options", "looked_up"),
    [
        pytest.param({}, True, id="as Florence-2"),
        pytest.param({"resample": 2, "size": {"height": 48, "width": 64}}, True, id="oblong"),
        pytest.param({"do_normalize": False}, True, id="not normalised"),
        pytest.param({"do_center_crop": True, "crop_size": 40}, False, id="cropped"),
        pytest.param({"do_center_crop": True, "crop_size": 9}, False, id="cropped to fewer"),
        pytest.param({"do_resize": False}, False, id="not resized"),
        pytest.param({"size": {"shortest_edge": 40}}, False, id="to a shortest edge"),
    ],
)
def test_pixels_are_the_processor_s_bit_by_bit(options, looked_up, count, lively):
    processor, pixels = pixels_of(lively, **options)
    images = IMAGES[:count] if looked_up or "crop_size" in options else IMAGES[2:3] * count
    theirs = processor(images=images, return_tensors="pt")["pixel_values"]
    assert torch.equal(pixels(images), theirs)
    assert pixels._plain == looked_up
