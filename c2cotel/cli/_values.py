"""What an option takes, checked while the command line is read: wrong is one line, and status 2."""

import math
from argparse import ArgumentTypeError
from collections.abc import Callable


def whole_number(least: int, most: float = math.inf) -> Callable[[str], int]:
    """The ``type`` of an option that takes a whole number from *least* to *most*."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            upwards = "upwards" if most == math.inf else f"to {most}"
            raise ArgumentTypeError(f"{text!r} is no whole number from {least} {upwards}")
        return number

    return read


def seconds(text: str) -> float:
    """The ``type`` of an option that takes a time."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise ArgumentTypeError(f"{text!r} is no number of seconds: write for example 2.5")
    return number
