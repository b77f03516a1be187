"""The difference of two pictures is what pixelmatch says of the whole, and quick."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageDraw
from pixelmatch.contrib.PIL import pixelmatch

from c2cotel_acceptance.image_difference import compare

COLOURS = st.sampled_from(["white", "#fafafa", "#888", "#8a8a8a", "black", "red", "#00f"])
PLACES = st.tuples(st.integers(-5, 75), st.integers(-5, 75))
SHAPES = st.lists(
    st.tuples(st.sampled_from(["line", "ellipse", "point"]), PLACES, PLACES, COLOURS), max_size=6
)


def draw(shapes, size=(70, 66)):
    """Shapes with smooth edges, except for points."""
    image = Image.new("RGB", (size[0] * 3, size[1] * 3), "white")
    for kind, (x, y), (x2, y2), colour in shapes:
        box = min(x, x2) * 3, min(y, y2) * 3, max(x, x2) * 3, max(y, y2) * 3
        if kind != "point":
            getattr(ImageDraw.Draw(image), kind)(box, fill=colour)
    image = image.resize(size, Image.Resampling.BOX)
    for kind, place, _, colour in shapes:
        if kind == "point":
            ImageDraw.Draw(image).point(place, fill=colour)
    return image


@settings(max_examples=40, deadline=None)
@given(SHAPES, SHAPES, st.sampled_from([0.0, 0.02, 0.1, 0.5]))
def test_the_verdict_is_the_one_of_pixelmatch_on_the_whole(shapes, more, threshold):
    expected, seen = draw(shapes), draw(shapes + more)
    drawn = Image.new("RGBA", expected.size)
    count = pixelmatch(expected, seen, drawn, threshold=threshold, aa_color=(0, 0, 255))
    red, green, blue, _ = drawn.split()
    found = compare(expected, seen, threshold=threshold)
    assert found.changed == count
    assert found.box == ImageChops.subtract(red, green).getbbox()
    assert found.smoothed == ImageChops.subtract(blue, green).histogram()[255]


@pytest.mark.parametrize(
    ("changed", "level", "exceeds"),
    [(0, 1, False), (1, 1, True), (1, 0.9, False), (2, 0.9, True), (10, 0, False)],
)
def test_a_level_allows_its_share(changed, level, exceeds):
    seen = Image.new("RGB", (10, 1), "white")
    seen.paste("black", (0, 0, changed, 1))
    found = compare(Image.new("RGB", (10, 1), "white"), seen)
    assert (found.changed, found.exceeds(level)) == (changed, exceeds)


def test_another_picture_is_told_without_looking_for_edges_and_soon():
    noise = [Image.effect_noise((1400, 2000), 90).convert("RGB") for _ in range(2)]
    began = time.process_time()
    found = compare(*noise)
    assert time.process_time() - began < 5
    assert found.changed > 2_000_000
    assert found.smoothed is None
    assert "too many to tell which are only smoothed edges" in str(found)


def test_what_is_hidden_is_neither_compared_nor_told():
    expected, seen = (Image.new("RGB", (10, 10), colour) for colour in ("white", "black"))
    hidden = Image.new("L", (10, 10), 255)
    hidden.paste(0, (3, 4, 5, 6))
    found = compare(expected, seen, hidden)
    assert (found.compared, found.changed, found.box) == (4, 4, (3, 4, 5, 6))


def test_a_frame_shows_where_a_single_pixel_differs():
    seen = Image.new("RGB", (50, 50), "white")
    seen.putpixel((20, 30), (0, 0, 0))
    picture = compare(Image.new("RGB", (50, 50), "white"), seen).picture
    colours = {colour: count for count, colour in picture.getcolors()}
    assert colours[255, 0, 0] == 1
    assert colours[255, 120, 0] == 4 * 8
    assert picture.getpixel((16, 26)) == picture.getpixel((24, 34)) == (255, 120, 0)
