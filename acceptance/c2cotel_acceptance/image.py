"""Hold pictures and pages against what they looked like when somebody last looked.

::

    def test_the_front_page(app_connection):
        image.check_screenshot(
            app_connection.base_url + "my-path",
            width=800,
            height=600,
            result_folder="results",
            expected_filename=Path(__file__).with_name("my-check.expected.png"),
        )

========================  =========================================================================
``NAME.expected.png``     how it should look; when there is none, it is written and the check fails
``NAME.mask.png``         beside it, if something is not to be compared: black there, else white
``NAME.actual.png``       in the folder of results: the page, as it was photographed
``NAME.actual-masked.png``  there, when the check fails: what was compared, white where masked
``NAME.diff.png``         there, when the check fails: red where it differs, in an orange frame
========================  =========================================================================

``level`` is the share of the pixels that has to be as expected: with 1, the default, all of them.
A pixel differs when its colour is further than ``threshold`` from the expected one (0 is the same,
1 is black and white; with the default, greys five steps of 256 apart still are the same) and it is
not just the smoothing of an edge. With a mask, ``level`` is about what the mask leaves.

After a change that is meant: run the tests once with ``C2C_ACCEPTANCE_GENERATE_IMAGES=1``, look at
the pictures, commit them. The fonts of the machine are on the pictures: make them where the tests
run, in the same container image.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any

from c2cotel_acceptance import image_page
from c2cotel_acceptance.image_difference import compare, cover
from c2cotel_acceptance.image_reading import normalize_image, read, read_mask

if TYPE_CHECKING:
    from PIL.Image import Image

    from c2cotel_acceptance.browser import Chromium

__all__ = ["check_image", "check_image_file", "check_screenshot", "normalize_image"]

# pytest shows the line of the test instead of lines from here.
__tracebackhide__ = methodcaller("errisinstance", (AssertionError, TimeoutError, ConnectionError))

_GENERATE = "C2C_ACCEPTANCE_GENERATE_IMAGES"
_THRESHOLD = 0.02


def check_screenshot(  # noqa: PLR0913, PLR0917 - the predecessor's arguments, in its order
    url: str,
    result_folder: str | os.PathLike[str],
    expected_filename: str | os.PathLike[str],
    width: int = 800,
    height: int = 600,
    sleep: int = 100,
    headers: Mapping[str, str] | None = None,
    media: Sequence[Mapping[str, str]] | None = None,
    level: float = 1.0,
    generate_expected_image: bool = False,  # noqa: FBT001, FBT002 - likewise
    use_mask: bool = True,  # noqa: FBT001, FBT002 - likewise
    *,
    threshold: float = _THRESHOLD,
    timeout: float = 60.0,
    chromium: "Chromium | None" = None,
    **options: Any,
) -> None:
    """Check that the page at *url* looks as in *expected_filename*.

    Animations are at their end, and no caret blinks. The page may come with any status.

    Args:
        url: Where the page is.
        result_folder: Gets the picture of the page, and of what differs; made if need be.
        expected_filename: The picture to compare with, ``NAME.expected.png``.
        width: Of the window, in pixels.
        height: Of the window, in pixels; what is further down is not on the picture.
        sleep: Milliseconds to wait once the page is loaded.
        headers: Sent with each request to the server of *url*, and to no other.
        media: Features to emulate: ``[{"name": "prefers-color-scheme", "value": "dark"}]``.
        level: The share of the pixels that has to be as expected, from 0 to 1.
        generate_expected_image: Only write the expected picture; nothing is checked.
        use_mask: Heed ``NAME.mask.png``, if there is one.
        threshold: How far apart colours are that differ, from 0 to 1.
        timeout: Seconds for the page to be there, *sleep* not counted.
        chromium: A running browser, see :mod:`c2cotel_acceptance.browser`; without it, one is
            started for each call, which takes a second or two.
        options: Of playwright's ``new_context``: ``is_mobile=True``, ``locale="de-CH"``…

    Raises:
        AssertionError: the page looks otherwise, or nobody knew how it should look.
        TimeoutError: the page is not there in time; what was there is in ``NAME.actual.png``.
        ConnectionError: the browser cannot open *url*.
        MissingError: no Chromium, or a library is missing.
    """
    check = _Check.of(result_folder, expected_filename, level, threshold, use_mask)
    actual = check.results / f"{check.name}.actual.png"
    look = image_page.Look(url, width, height, sleep, headers or {}, media or (), timeout, options)
    about = image_page.photograph(look, actual, chromium)
    check.run(read(actual), about, generate=generate_expected_image)


def check_image_file(  # noqa: PLR0913, PLR0917 - the predecessor's arguments, in its order
    result_folder: str | os.PathLike[str],
    image_filename_to_check: str | os.PathLike[str],
    expected_filename: str | os.PathLike[str],
    level: float = 1.0,
    generate_expected_image: bool = False,  # noqa: FBT001, FBT002 - likewise
    use_mask: bool = True,  # noqa: FBT001, FBT002 - likewise
    *,
    threshold: float = _THRESHOLD,
) -> None:
    """Check that the picture in the file *image_filename_to_check* is as expected.

    All else is as with :func:`check_image`.
    """
    check = _Check.of(result_folder, expected_filename, level, threshold, use_mask)
    seen = read(Path(image_filename_to_check))
    about = f"\n  picture: {Path(image_filename_to_check)}"
    check.run(seen, about, generate=generate_expected_image)


def check_image(  # noqa: PLR0913, PLR0917 - the predecessor's arguments, in its order
    result_folder: str | os.PathLike[str],
    image_to_check: Any,
    expected_filename: str | os.PathLike[str],
    level: float = 1.0,
    generate_expected_image: bool = False,  # noqa: FBT001, FBT002 - likewise
    use_mask: bool = True,  # noqa: FBT001, FBT002 - likewise
    *,
    threshold: float = _THRESHOLD,
) -> None:
    """Check that *image_to_check* looks as in *expected_filename*.

    *image_to_check* is whatever :func:`normalize_image` takes, and is not altered. The other
    arguments are those of :func:`check_screenshot`.

    Raises:
        AssertionError: it looks otherwise, or nobody knew how it should look.
        ValueError: a file that is no picture, a mask that fits nothing, a *level* out of bounds.
    """
    check = _Check.of(result_folder, expected_filename, level, threshold, use_mask)
    check.run(normalize_image(image_to_check), "", generate=generate_expected_image)


@dataclass(frozen=True)
class _Check:
    """One check, and where its files are."""

    results: Path
    expected: Path
    name: str
    mask: Path | None
    level: float
    threshold: float

    @classmethod
    def of(
        cls,
        results: str | os.PathLike[str],
        expected: str | os.PathLike[str],
        level: float,
        threshold: float,
        use_mask: bool,  # noqa: FBT001 - the caller's argument
    ) -> "_Check":
        for argument, value in (("level", level), ("threshold", threshold)):
            if not 0 <= value <= 1:
                raise ValueError(f"{argument}={value!r}: expected a number from 0 to 1")
        path = Path(expected)
        name = path.stem.removesuffix(".expected")
        mask = path.with_name(f"{name}.mask.png")
        # Without the ending, the mask's name would say nothing about whose mask it is.
        masked = use_mask and name != path.stem and mask.is_file()
        folder = Path(results).resolve()
        return cls(folder, path, name, mask if masked else None, level, threshold)

    @property
    def masked(self) -> Path:
        return self.results / f"{self.name}.actual-masked.png"

    @property
    def diff(self) -> Path:
        return self.results / f"{self.name}.diff.png"

    def run(self, seen: "Image", about: str, *, generate: bool) -> None:
        """Compare *seen* with what is expected; *about* ends the message.

        Raises:
            AssertionError: they differ, or nothing was expected yet.
        """
        for left_behind in (self.masked, self.diff):
            left_behind.unlink(missing_ok=True)
        if generate or os.environ.get(_GENERATE):
            _write(cover(seen, self._hidden(seen.size)), self.expected)
            return
        if not self.expected.is_file():
            raise AssertionError(self._begin(cover(seen, self._hidden(seen.size)), about))
        expected = read(self.expected)
        hidden = self._hidden(expected.size)
        difference = compare(expected, seen, hidden, self.threshold)
        if not difference.exceeds(self.level):
            return
        _write(cover(seen, hidden), self.masked)
        _write(difference.picture, self.diff)
        needed = "" if self.level == 1 else f" Level {self.level:g} is needed."
        raise AssertionError(
            f"{self.name} does not look as expected. {difference}.{needed}"
            f"\n  expected: {self.expected}\n  seen: {self.masked}\n  where: {self.diff}{about}"
            f"\nIf it is right as it is now: {self._accept()}"
        )

    def _begin(self, seen: "Image", about: str) -> str:
        """Keep *seen* as what is expected from now on, and say so."""
        _write(seen, self.masked)
        try:
            _write(seen, self.expected)
        except OSError as error:
            then = f"It cannot be written ({error.strerror}): {self._accept()}"
        else:
            then = "It is now what was seen: look at it, then commit it."
        return (
            f"{self.name}: nobody has said how it should look. {then}"
            f"\n  expected: {self.expected}\n  seen: {self.masked}{about}"
        )

    def _accept(self) -> str:
        return shlex.join(["cp", str(self.masked), str(self.expected)])

    def _hidden(self, size: tuple[int, int]) -> "Image | None":
        """Where the mask hides a picture of this size."""
        return read_mask(self.mask, size) if self.mask else None


def _write(picture: "Image", path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "PNG")
