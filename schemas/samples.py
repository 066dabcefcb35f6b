"""A sample: one image of a shard with its sidecars, as WebDataset defines it."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from schemas.ids import image_id

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
MAX_PIXELS = 178_956_970
"""Pillow's own bound: a larger image is taken for a decompression bomb."""


class UnreadableImage(ValueError):
    """The bytes are no image that can be decoded; the message says why."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`members` maps each suffix (lower case, without the leading dot) to its bytes.

    The key is everything before the first dot of the member's file name. `url` is the address of
    the shard. `image` is None until the pixels have been decoded (`decode_image`).
    """

    shard: str
    key: str
    members: Mapping[str, bytes]
    url: str = ""
    image: Image.Image | None = field(default=None, compare=False, repr=False)

    @property
    def image_id(self) -> str:
        return image_id(self.shard, self.key)

    def image_bytes(self) -> bytes | None:
        """Bytes of the member with an image suffix, None where there is none."""
        return next((self.members[s] for s in IMAGE_SUFFIXES if s in self.members), None)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something set aside with its reason: a member, a sidecar, a label, the tail of a shard.

    `payload` keeps the original text where there is some, so that nothing is lost.
    """

    shard: str
    kind: str
    detail: str
    key: str | None = None
    payload: str | None = None


def decode_image(sample: Sample, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """RGB pixels, turned upright by the EXIF orientation; UnreadableImage says why not.

    Of more than eight bits a channel the upper eight are kept.
    """
    encoded = sample.image_bytes()
    if encoded is None:
        raise UnreadableImage(f"no image among the members {sorted(sample.members)}")
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImage(
                    f"{width}x{height} pixels are more than {max_pixels}: a decompression bomb?"
                )
            bits = _grey_bits(image)
            return _eight_bits(ImageOps.exif_transpose(image), bits).convert("RGB")
    except UnreadableImage:
        raise
    except UnidentifiedImageError:  # its own words name an object in memory
        said = "it is empty" if not encoded else f"no image begins with {encoded[:12]!r}"
        raise UnreadableImage(f"does not decode: {said}") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"does not decode: {error}") from error


def _grey_bits(image: Image.Image) -> int:
    """Of a grey value, 8 to 16; of an image in colour 8."""
    if image.mode in ("I", "F") and image.format != "PNG":  # whose greys have 16 bits at most
        raise UnreadableImage(
            "its grey values have a sign or more than 16 bits, and nothing says which is white: "
            "save it with 8 or 16"
        )
    if not image.mode.startswith("I"):
        return 8
    if not isinstance(image, TiffImageFile):
        return 16
    return int(image.tag_v2.get(BITSPERSAMPLE, (16,))[0])


def _eight_bits(image: Image.Image, bits: int) -> Image.Image:
    """A grey image of more in eight: Pillow itself makes white of all that is over 255."""
    if bits == 8:
        return image
    return Image.fromarray((np.asarray(image) >> (bits - 8)).astype(np.uint8))
