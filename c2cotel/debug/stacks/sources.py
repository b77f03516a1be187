"""The lines of code that frames are at, without keeping the files that they are read from."""

import linecache
import tokenize
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

_LONGEST_FILE: Final = 100_000  # lines
_LONGEST_LINE: Final = 10_000


def lines(wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The code at each file and line, without blanks around it; those that cannot be read lack."""
    by_file: defaultdict[str, set[int]] = defaultdict(set)
    for file, line in wanted:
        by_file[file].add(line)
    return {
        (file, line): text
        for file, numbers in by_file.items()
        for line, text in _of(file, numbers).items()
    }


def _of(file: str, numbers: set[int]) -> dict[int, str]:
    kept = linecache.cache.get(file)
    if kept is not None and len(kept) > 1:
        source: Iterable[str] = kept[2]
        return _chosen(source, numbers)
    try:
        # Of "<string>" and the like, and of a device, there is nothing to read.
        if not Path(file).is_file():
            return {}
        with tokenize.open(file) as source:
            return _chosen(source, numbers)
    except (OSError, SyntaxError, ValueError):
        return {}


def _chosen(source: Iterable[str], numbers: set[int]) -> dict[int, str]:
    last = min(max(numbers), _LONGEST_FILE)
    return {
        number: text[:_LONGEST_LINE].strip()
        for number, text in enumerate(islice(source, last), start=1)
        if number in numbers
    }
