"""Pictures of any kind become comparable ones; what is none is told."""

import io
import struct
from dataclasses import dataclass

import pytest
from PIL import Image

from c2cotel_acceptance.image import normalize_image
from c2cotel_acceptance.image_reading import read, read_mask


@dataclass
class Array:
    """An array, as others see it: https://numpy.org/doc/stable/reference/arrays.interface.html."""

    shape: tuple[int, ...]
    typestr: str
    data: bytes

    @property
    def __array_interface__(self):
        return {"version": 3, "shape": self.shape, "typestr": self.typestr, "strides": (1,)}

    def tobytes(self):
        return self.data


def encoded(image, **how):
    file = io.BytesIO()
    image.save(file, "PNG", **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("RGB", (2, 1), (1, 2, 3)), (1, 2, 3)),
        (Image.new("RGBA", (2, 1), (1, 2, 3, 255)), (1, 2, 3)),
        (Image.new("RGBA", (2, 1), (1, 2, 3, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 1), (0, 0, 0, 51)), (204, 204, 204)),
        (Image.new("LA", (2, 1), (100, 255)), (100, 100, 100)),
        (Image.new("L", (2, 1), 100), (100, 100, 100)),
        (Image.new("1", (2, 1), 1), (255, 255, 255)),
        (Image.new("I;16", (2, 1), 100 * 257), (100, 100, 100)),
        (Image.new("F", (2, 1), 1.0), (255, 255, 255)),
        (Image.new("RGB", (2, 1), (200, 0, 0)).convert("P"), (204, 0, 0)),
        (Array((1, 2), "|u1", b"\x07\x07"), (7, 7, 7)),
        (Array((1, 2, 3), "|u1", bytes([1, 2, 3, 1, 2, 3])), (1, 2, 3)),
        (Array((1, 2, 4), "|u1", bytes([1, 2, 3, 0] * 2)), (255, 255, 255)),
        (Array((1, 2, 3), "<f4", struct.pack("<6f", *[1, 0.5, 0] * 2)), (255, 128, 0)),
        (Array((1, 2, 4), ">f8", struct.pack(">8d", *[1, 2, -1, 1] * 2)), (255, 255, 0)),
        (Array((1, 2), "<f8", struct.pack("<2d", 1, 1)), (255, 255, 255)),
    ],
    ids=lambda value: getattr(value, "mode", getattr(value, "typestr", None)),
)
def test_any_kind_of_picture_becomes_red_green_and_blue_on_white(image, colour):
    normal = normalize_image(image)
    assert (normal.mode, normal.size) == ("RGB", (2, 1))
    assert normal.getcolors() == [(2, colour)]


def test_the_bytes_of_a_file_are_a_picture():
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 8, 7])
    assert normalize_image(encoded(palette)).getpixel((0, 0)) == (9, 8, 7)
    assert normalize_image(encoded(palette, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "NoneType: not an image"),
        ("it.png", "str: not an image. Give a picture of Pillow, the bytes"),
        (b"<svg/>", "these bytes: not an image that can be read"),
        (Array((2,), "|u1", b"12"), r"shape \(2,\) and type \|u1: not an image"),
        (Array((1, 1, 5), "<f4", bytes(20)), r"shape \(1, 1, 5\) and type <f4"),
        (Array((1, 1), "<f4", struct.pack("<f", float("nan"))), "floats from 0 to 1"),
        (Array((1, 1), "|O", b""), r"type \|O"),
    ],
)
def test_what_is_no_picture_is_told(value, told):
    with pytest.raises(ValueError, match=told):
        normalize_image(value)


def test_half_a_file_is_named_as_such(tmp_path):
    whole = encoded(Image.effect_noise((50, 50), 99))
    path = tmp_path / "half.png"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.png: not an image that can be read: .*truncated"):
        read(path)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read(tmp_path / "none.png")


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
def test_a_mask_of_any_kind_hides_where_it_is_black(tmp_path, mode):
    mask = Image.new("RGB", (4, 1), "white")
    mask.putpixel((2, 0), (0, 0, 0))
    mask.convert(mode).save(tmp_path / "mask.png")
    assert list(read_mask(tmp_path / "mask.png", (4, 1)).tobytes()) == [0, 0, 255, 0]


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (Image.new("L", (4, 2), 255), r"the mask has 4x2 pixels, the picture 4x1"),
        (Image.new("L", (4, 1), 0), "hides everything"),
        (Image.new("L", (4, 1), 128), "this one has 1 greys or colours besides"),
        (Image.new("RGB", (4, 1), "red"), "black where nothing is compared, else white"),
    ],
)
def test_a_mask_that_cannot_be_one_is_told_with_its_name(tmp_path, mask, told):
    path = tmp_path / "mask.png"
    mask.save(path)
    with pytest.raises(ValueError, match=f"{path}: .*{told}"):
        read_mask(path, (4, 1))
