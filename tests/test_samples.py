"""Images as they are decoded, whatever a channel's bits."""

import io

import numpy as np
import pytest
from PIL import Image

from schemas.samples import Sample, UnreadableImage, decode_image

GREYS = np.array([[0, 1, 128], [200, 254, 255]], dtype=np.uint8)


def sample(pixels: np.ndarray, suffix: str) -> Sample:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, {"tif": "tiff"}.get(suffix, suffix))
    return Sample("shard", "image", {suffix: file.getvalue()})


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_grey_image_of_16_bits_looks_like_the_one_of_eight(suffix):
    wide = GREYS.astype(np.uint16) * 257
    image = decode_image(sample(wide, suffix))
    assert image.mode == "RGB"
    assert np.asarray(image).tolist() == np.repeat(GREYS[:, :, None], 3, axis=2).tolist()


def test_a_grey_image_of_16_bits_is_turned_upright():
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREYS.astype(np.uint16) << 8).save(file, "png", exif=exif)
    image = decode_image(Sample("shard", "image", {"png": file.getvalue()}))
    assert np.asarray(image)[:, :, 0].tolist() == np.rot90(GREYS, -1).tolist()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_of_32_bits_nothing_says_which_is_white(dtype):
    with pytest.raises(UnreadableImage, match="32 bits, and nothing says which is white"):
        decode_image(sample(GREYS.astype(dtype), "tif"))
