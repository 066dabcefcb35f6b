"""Pascal VOC XML → boxes.

Coordinates are taken as they stand. VOC counted pixels from 1, the last one included; most tools
that write VOC today mean edges in pixels from 0, and nothing in a file tells the two apart.
"""

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from annotator.human.labels import (
    SIZE_MISMATCH,
    Box,
    Label,
    SetAside,
    UnreadableSidecar,
    why_malformed,
)

_SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc(content: bytes, width: int, height: int) -> Iterator[Label]:
    """Labels in the order of the file; UnreadableSidecar before the first where it is broken."""
    root = _parse(content)
    yield from _size_mismatch(root, width, height)
    for element in root.findall("object"):
        found = _read_object(element, width, height)
        yield found if isinstance(found, Box) else SetAside(found, _source_text(element))


def _parse(content: bytes) -> Element:
    try:
        root: Element = fromstring(content)
    except DefusedXmlException as error:
        raise UnreadableSidecar(f"XML with entities or references is refused: {error}") from error
    except (ParseError, ValueError, LookupError) as error:
        raise UnreadableSidecar(f"broken XML: {error}") from error
    if root.tag != "annotation":
        raise UnreadableSidecar(f"no Pascal VOC: the root is <{root.tag}>, not <annotation>")
    return root


def _size_mismatch(root: Element, width: int, height: int) -> Iterator[SetAside]:
    size = root.find("size")
    stated = (_text(size, "width"), _text(size, "height")) if size is not None else ("", "")
    if all(stated) and stated not in ((str(width), str(height)), ("0", "0")):
        detail = f"the labels are for {'x'.join(stated)} pixels, the image has {width}x{height}"
        yield SetAside(detail, kind=SIZE_MISMATCH)


def _read_object(element: Element, width: int, height: int) -> Box | str:
    """The box, or why it is malformed."""
    name = _text(element, "name")
    if not name:
        return "no name"
    if (frame := element.find("bndbox")) is None:
        return f"{name}: no bndbox"
    texts = [_text(frame, side) for side in _SIDES]
    try:
        x0, y0, x1, y1 = map(float, texts)
    except ValueError:
        stated = " ".join(f"{side}={text!r}" for side, text in zip(_SIDES, texts, strict=True))
        return f"{name}: a coordinate is no number: {stated}"
    if reason := why_malformed((x0, y0, x1, y1), width, height):
        return f"{name}: {reason}"
    return Box(name, (x0, y0, x1, y1))


def _text(element: Element, tag: str) -> str:
    return (element.findtext(tag) or "").strip()


def _source_text(element: Element) -> str:
    return tostring(element, encoding="unicode").strip()
