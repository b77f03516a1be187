"""Pictures of any kind, made comparable."""

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c2cotel_acceptance.processes import MissingError

if TYPE_CHECKING:
    from PIL.Image import Image

_BLACK, _WHITE = 0, 255
_SIXTEEN_BITS = 257  # 65535 / 255


def normalize_image(image: Any) -> "Image":
    """A picture of mode RGB with the same look; transparent parts are on white.

    *image* is a picture of Pillow, the bytes of an image file, or an array: anything with numpy's
    ``__array_interface__``, of numbers from 0 to 255, or from 0 to 1 if they are floats. For an
    array, ``numpy.asarray`` makes one of the result.

    Raises:
        ValueError: it is none of these.
        MissingError: Pillow is not installed.
    """
    pillow = _pillow()
    if isinstance(image, bytes | bytearray | memoryview):
        return _decode(io.BytesIO(image), "these bytes")
    if hasattr(image, "__array_interface__") and not isinstance(image, pillow.Image):
        image = _from_array(image)
    if not isinstance(image, pillow.Image):
        raise ValueError(  # noqa: TRY004 - as for an array of the wrong shape
            f"{type(image).__name__}: not an image. "
            "Give a picture of Pillow, the bytes of an image file, or an array"
        )
    return _rgb(image)


def read(path: Path) -> "Image":
    """The picture in a file, as :func:`normalize_image` makes it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, or only the beginning of one.
    """
    with path.open("rb") as file:
        return _decode(file, str(path))


def read_mask(path: Path, size: tuple[int, int]) -> "Image":
    """The mask in a file: 255 where it hides (it is black there), 0 where it does not.

    Raises:
        ValueError: the mask is not of this *size*, has other colours, or hides everything.
    """
    mask = read(path).convert("L")
    if mask.size != size:
        sizes = "{}x{} pixels, the picture {}x{}".format(*mask.size, *size)
        raise ValueError(f"{path}: the mask has {sizes}")
    colours = {value for value, count in enumerate(mask.histogram()) if count}
    if others := colours - {_BLACK, _WHITE}:
        raise ValueError(
            f"{path}: a mask is black where nothing is compared, else white; "
            f"this one has {len(others)} greys or colours besides"
        )
    if colours == {_BLACK}:
        raise ValueError(f"{path}: the mask hides everything, there is nothing to compare")
    return mask.point(lambda value: _WHITE - value)


def _pillow() -> Any:
    try:
        import pixelmatch  # noqa: F401 - better said before a page is photographed than after
        from PIL import Image
    except ImportError as error:
        raise MissingError(
            "This needs Pillow and pixelmatch: pip install 'c2cotel[acceptance]'"
        ) from error
    return Image


def _decode(file: Any, name: str) -> "Image":
    pillow = _pillow()
    try:
        with pillow.open(file) as image:
            image.load()
            return _rgb(image)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{name}: not an image that can be read: {error}") from error


def _from_array(array: Any) -> "Image":
    described = array.__array_interface__
    shape, kind = tuple(described["shape"]), described["typestr"]
    try:
        # Pillow takes a single line of numbers for a picture, too.
        height, width, *bands = shape
        if kind[1] == "f":
            return _from_floats(array.tobytes(), (width, height), bands or [1], kind)
        image: Image = _pillow().fromarray(array)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(
            f"An array of shape {shape} and type {kind}: not an image. Expected bytes, or floats "
            "from 0 to 1, and the shape (height, width), (height, width, 3) or (height, width, 4)"
        ) from error
    return image


def _from_floats(data: bytes, size: tuple[int, int], bands: list[int], kind: str) -> "Image":
    (band_count,) = bands
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[band_count]
    order, code = kind[0], {"2": "e", "4": "f", "8": "d"}[kind[2:]]
    floats = struct.unpack(f"{order}{size[0] * size[1] * band_count}{code}", data)
    levels = bytes(round(min(max(value, 0.0), 1.0) * 255) for value in floats)
    image: Image = _pillow().frombytes(mode, size, levels)
    return image


def _rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        image = image.convert("I").point(lambda value: value * (1 / _SIXTEEN_BITS)).convert("L")
    elif image.mode == "F":
        image = image.point(lambda value: value * 255).convert("L")
    if image.has_transparency_data:
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), over).convert("RGB")
    return image.convert("RGB")
