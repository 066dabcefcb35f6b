"""Images as they are decoded, whatever a channel's bits."""

import io
import struct

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


def test_a_grey_image_of_12_bits_looks_like_the_one_of_eight():
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 1, 279: 3}
    entries = [struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(tags.items())]
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(entries))
    black_and_white = bytes([0x00, 0x0F, 0xFF])  # 0x000, then 0xfff
    tiff = (head + b"".join(entries) + bytes(4)).ljust(122, b"\0") + black_and_white
    image = decode_image(Sample("shard", "image", {"tif": tiff}))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 255]


def test_a_grey_image_of_16_bits_is_turned_upright():
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(GREYS.astype(np.uint16) << 8).save(file, "png", exif=exif)
    image = decode_image(Sample("shard", "image", {"png": file.getvalue()}))
    assert np.asarray(image)[:, :, 0].tolist() == np.rot90(GREYS, -1).tolist()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_of_32_bits_nothing_says_which_is_white(dtype):
    with pytest.raises(UnreadableImage, match="more than 16 bits, and nothing says which is white"):
        decode_image(sample(GREYS.astype(dtype), "tif"))
