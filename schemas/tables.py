"""Arrow schemas of every table. Geometry is float32 pixels, x0 y0 x1 y1, top-left origin.

`regions.tile` says which part of the image the model saw when it wrote the region: NULL for the
whole image, else `x0,y0,x1,y1` in whole pixels of the image, such as `512,0,1024,512`, where x1 and
y1 are the first column and row outside. The region's own coordinates are those of the image; its
bins are thousandths of the tile's width and height. An edge of the tile is an inner one where the
image goes on beyond it: x0 > 0, y0 > 0, x1 < images.width, y1 < images.height. All tiles of an
image have the same size.
"""

import pyarrow as pa

SCHEMA_VERSION = 1
"""Raised when a column is added, dropped or changes its meaning."""

IMAGE_STATES = ("failed", "empty", "filtered", "labelled", "verified")
TEXT_LEVELS = ("brief", "detailed", "more_detailed", "alt", "ocr", "description")
SHAPES = ("box", "quad", "polygon")
VERDICTS = ("flag", "quarantine", "drop")
"""From the weakest to the strongest."""
REJECTIONS = ("quarantine", "drop")
"""A label with one of these verdicts is not kept; a flag is a remark."""
HUMAN = "human"
MODEL = "model"

_STRING = pa.string()
_SCORE = pa.float32()
_NUMBER = pa.int32()

IMAGES = pa.schema(
    [
        ("image_id", _STRING),
        ("shard", _STRING),
        ("key", _STRING),
        ("url", _STRING),  # of the shard
        ("sha256", _STRING),  # of the encoded image; NULL where the sample has none
        ("width", _NUMBER),
        ("height", _NUMBER),
        ("state", _STRING),  # IMAGE_STATES
        ("error", _STRING),
        ("recipe", _STRING),
        ("round", _NUMBER),
    ]
)

_LABEL = [
    ("image_id", _STRING),
    ("source", _STRING),  # model, human, or the second opinion's name
    ("label_no", _NUMBER),  # position within (image_id, source, kind)
    ("shard", _STRING),
]
_ORIGIN = [("recipe", _STRING), ("round", _NUMBER)]

TEXTS = pa.schema(
    [
        *_LABEL,
        ("task", _STRING),
        ("level", _STRING),  # TEXT_LEVELS
        ("text", _STRING),
        ("score", _SCORE),  # exp of the mean token log-probability
        ("min_token_score", _SCORE),
        ("tokens", _NUMBER),  # generated, without special tokens
        ("truncated", pa.bool_()),
        ("parent", _STRING),  # ids.local_id of the label it was asked about
        *_ORIGIN,
    ]
)

REGIONS = pa.schema(
    [
        *_LABEL,
        ("task", _STRING),
        ("shape", _STRING),  # SHAPES
        ("x0", pa.float32()),
        ("y0", pa.float32()),
        ("x1", pa.float32()),
        ("y1", pa.float32()),
        ("points", pa.list_(pa.list_(pa.float32()))),  # parts of x,y,x,y…; NULL for boxes
        ("text", _STRING),
        ("category", _STRING),  # closed-set name; NULL for free words
        ("crowd", pa.bool_()),  # COCO's iscrowd: a group, not one thing
        ("score", _SCORE),  # joint; NULL when unknown, never 1.0
        ("location_score", _SCORE),
        ("windowed_location_score", _SCORE),
        ("location_spread", _SCORE),  # mean sd of the four coordinates over the mean side
        ("label_score", _SCORE),
        ("end_score", _SCORE),  # probability that the list had ended here
        ("position", _NUMBER),  # in the model's list
        ("truncated", pa.bool_()),
        ("tile", _STRING),  # see above
        ("parent", _STRING),
        *_ORIGIN,
    ]
)

PHRASES = pa.schema(
    [
        *_LABEL,
        ("text_source", _STRING),
        ("text_no", _NUMBER),
        ("char_start", _NUMBER),  # [start, end) in the caption, characters; NULL: not found there
        ("char_end", _NUMBER),
        ("phrase", _STRING),
        ("region_source", _STRING),
        ("region_no", _NUMBER),
        ("score", _SCORE),
        ("label_score", _SCORE),
        *_ORIGIN,
    ]
)

VERDICT_ROWS = pa.schema(
    [
        ("image_id", _STRING),
        ("kind", _STRING),  # text, region, phrase
        ("source", _STRING),
        ("label_no", _NUMBER),
        ("shard", _STRING),
        ("filter", _STRING),
        ("verdict", _STRING),  # VERDICTS
        ("value", pa.float64()),  # what was measured
        ("threshold", pa.float64()),  # the limit it was held against
        ("detail", _STRING),  # what a number cannot say, such as the label it is a duplicate of
        ("recipe", _STRING),
    ]
)

PROBLEMS = pa.schema(
    [
        ("shard", _STRING),
        ("image_id", _STRING),
        ("kind", _STRING),
        ("detail", _STRING),
        ("payload", _STRING),
        ("recipe", _STRING),
    ]
)

TABLES = {
    "images": IMAGES,
    "texts": TEXTS,
    "regions": REGIONS,
    "phrases": PHRASES,
    "verdicts": VERDICT_ROWS,
    "problems": PROBLEMS,
}
LABEL_TABLES = {"text": "texts", "region": "regions", "phrase": "phrases"}
"""Kind of a label → the table that holds it."""
