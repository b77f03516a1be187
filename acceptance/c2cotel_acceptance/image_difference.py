"""What differs between two pictures, pixel by pixel, and where.

pixelmatch decides whether a pixel differs, and whether that is only the smoothing of an edge
(anti-aliasing). It takes some 0.1 ms for each pixel that differs, so it looks at the parts of the
pictures where a colour differs at all, with as much around them as its decision depends on: the
verdict is the one that it has on the whole.

Source: https://github.com/mapbox/pixelmatch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]
Box = tuple[int, int, int, int]
"""Left, top, right and bottom; the last two are the first that are outside."""

_TILE = 32
# An edge is recognised by the neighbours of a pixel, and by theirs.
_AROUND = 2
# When more pixels differ, no edge is looked for: it would take ten seconds and more, and a
# picture so different is another one.
_MOST_LOOKED_AT = 100_000
_WHOLE_NUMBERS = 10  # percent
# pixelmatch's measure of the distance between black and white.
_FARTHEST = 35215

_CHANGED = (255, 0, 0)
_SMOOTHED = (255, 210, 0)
_HIDDEN = (190, 205, 235)
_FRAME = (255, 120, 0)


@dataclass(frozen=True)
class Difference:
    """How a picture differs from the expected one."""

    expected_size: Size
    size: Size
    compared: int
    """How many pixels were compared: those that no mask hides."""
    changed: int
    """How many of them differ; those that only one of the pictures has are among them."""
    smoothed: int | None
    """How many more differ as edges do that are drawn anew; None when that was not looked for."""
    box: Box | None
    """The smallest rectangle around all that differ."""
    picture: "Image"
    """The expected picture, faded; red: differs, yellow: edges, blue: hidden by the mask."""

    def __str__(self) -> str:
        share = 100 * self.changed / self.compared
        rounded = f"{share:.0f}" if share >= _WHOLE_NUMBERS else f"{share:.2g}"
        told = f"{self.changed} of {self.compared} pixels differ ({rounded} %)"
        if self.box:
            left, top, right, bottom = self.box
            told += f", all within x {left} to {right - 1}, y {top} to {bottom - 1}"
        if self.smoothed is None:
            told += "; these are too many to tell which are only smoothed edges"
        elif self.smoothed:
            told += f"; {self.smoothed} more are smoothed edges and do not count"
        if self.size != self.expected_size:
            sizes = "{}x{} pixels instead of {}x{}".format(*self.size, *self.expected_size)
            return f"It has {sizes}. {told[0].upper()}{told[1:]}"
        return told[0].upper() + told[1:]

    def exceeds(self, level: float) -> bool:
        """Whether less than *level*, a share from 0 to 1, is as expected; another size always."""
        # Without the little more, 1 - 0.9 is less than a tenth.
        allowed = math.floor((1 - level) * self.compared + 1e-6)
        return self.size != self.expected_size or self.changed > allowed


def compare(
    expected: "Image", seen: "Image", hidden: "Image | None" = None, threshold: float = 0.02
) -> Difference:
    """Compare two pictures of mode RGB.

    *hidden* (mode L, as large as *expected*) is 255 where nothing is compared, else 0.
    *threshold*, from 0 to 1, is how far apart two colours are that differ; 1 is black and white.
    """
    from PIL import Image, ImageChops

    size = max(expected.width, seen.width), max(expected.height, seen.height)
    common = 0, 0, min(expected.width, seen.width), min(expected.height, seen.height)
    covered = Image.new("L", size)
    if hidden:
        covered.paste(hidden)
    # Hidden in both before an edge is looked for: what is there has no say about its neighbours.
    both = cover(expected.crop(common), covered), cover(seen.crop(common), covered)
    apart = _apart(*both, threshold)
    changed = Image.new("L", size, 255)
    smoothed = Image.new("L", size)
    looked = _count(apart) <= _MOST_LOOKED_AT
    if looked:
        decided = _decide(*both, apart, threshold)
        changed.paste(ImageChops.multiply(decided[0], apart))
        smoothed.paste(ImageChops.multiply(decided[1], apart))
    else:
        changed.paste(apart)
    changed = ImageChops.subtract(changed, covered)
    box = changed.getbbox()
    return Difference(
        expected_size=expected.size,
        size=seen.size,
        compared=size[0] * size[1] - _count(covered),
        changed=_count(changed),
        smoothed=_count(smoothed) if looked else None,
        box=box,
        picture=_picture(expected, changed, smoothed, covered, box),
    )


def cover(image: "Image", hidden: "Image | None") -> "Image":
    """A copy of *image*, white where *hidden* is 255."""
    covered = image.copy()
    if hidden:
        covered.paste("white", mask=hidden.crop((0, 0, *image.size)))
    return covered


def _count(marked: "Image") -> int:
    return marked.histogram()[255]


def _apart(expected: "Image", seen: "Image", threshold: float) -> "Image":
    """Where two colours are further apart than *threshold*, as 255 in a picture of mode L."""
    from PIL import ImageMath

    # Rounding must not take a pixel from pixelmatch, which decides with more digits.
    nearest = 0.999 * _FARTHEST * threshold**2

    def far(bands: dict[str, Any]) -> Any:
        red, green, blue = (bands["float"](bands[f"a{i}"]) - bands[f"b{i}"] for i in range(3))
        y = red * 0.29889531 + green * 0.58662247 + blue * 0.11448223
        i = red * 0.59597799 - green * 0.27417610 - blue * 0.32180189
        q = red * 0.21147017 - green * 0.52261711 + blue * 0.31114694
        distance = y * y * 0.5053 + i * i * 0.299 + q * q * 0.1957
        return bands["convert"]((distance > nearest) * 255, "L")

    bands = {f"a{i}": band for i, band in enumerate(expected.split())}
    bands |= {f"b{i}": band for i, band in enumerate(seen.split())}
    found: Image = ImageMath.lambda_eval(far, **bands)
    return found


def _decide(
    expected: "Image", seen: "Image", apart: "Image", threshold: float
) -> tuple["Image", "Image"]:
    """Which of the pixels of *apart* have changed, and which only belong to smoothed edges."""
    from PIL import Image, ImageChops
    from pixelmatch.contrib.PIL import pixelmatch

    changed, smoothed = Image.new("L", expected.size), Image.new("L", expected.size)
    for left, top, right, bottom in _parts(apart):
        around = (
            max(left - _AROUND, 0),
            max(top - _AROUND, 0),
            min(right + _AROUND, expected.width),
            min(bottom + _AROUND, expected.height),
        )
        drawn = Image.new("RGBA", (around[2] - around[0], around[3] - around[1]))
        pixelmatch(
            expected.crop(around),
            seen.crop(around),
            drawn,
            threshold=threshold,
            diff_color=(255, 0, 0),
            aa_color=(0, 0, 255),
        )
        inner = left - around[0], top - around[1], right - around[0], bottom - around[1]
        # Whatever is neither red nor blue is grey.
        red, green, blue, _ = drawn.crop(inner).split()
        changed.paste(ImageChops.subtract(red, green), (left, top))
        smoothed.paste(ImageChops.subtract(blue, green), (left, top))
    return changed, smoothed


def _parts(marked: "Image") -> Iterator[Box]:
    """Small rectangles with all that is marked; they do not overlap."""
    for top in range(0, marked.height, _TILE):
        for left in range(0, marked.width, _TILE):
            right, bottom = min(left + _TILE, marked.width), min(top + _TILE, marked.height)
            if box := marked.crop((left, top, right, bottom)).getbbox():
                yield left + box[0], top + box[1], left + box[2], top + box[3]


def _picture(
    expected: "Image", changed: "Image", smoothed: "Image", hidden: "Image", box: Box | None
) -> "Image":
    from PIL import Image, ImageDraw

    grey = Image.new("RGB", changed.size, "white")
    grey.paste(expected.convert("L").convert("RGB"))
    picture = Image.blend(Image.new("RGB", changed.size, "white"), grey, 0.2)
    picture.paste(_HIDDEN, mask=hidden)
    picture.paste(_SMOOTHED, mask=smoothed)
    if box:  # or else nobody finds the one pixel
        frame = box[0] - 4, box[1] - 4, box[2] + 3, box[3] + 3
        ImageDraw.Draw(picture).rectangle(frame, outline=_FRAME)
    picture.paste(_CHANGED, mask=changed)
    return picture
