"""``pip install`` as the pages have it: what they need is here already.

Takes part of a test without network: the extras of c2cotel that are named have to exist.
"""

import sys
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

_WITH_VALUE = ("-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "-e", "--editable")


def main(arguments: list[str]) -> int:
    """0, or 1 with a sentence on stderr."""
    problem = _problem(arguments)
    if problem is not None:
        sys.stderr.write(f"{problem}\n")
    return 0 if problem is None else 1


def _problem(arguments: list[str]) -> str | None:
    if arguments[:1] != ["install"]:
        return f"The tests of the documentation know `pip install` only, not {arguments}."
    rest = iter(arguments[1:])
    for argument in rest:
        if argument in _WITH_VALUE:
            next(rest, None)
        elif not argument.startswith("-") and (problem := _problem_of(argument)):
            return problem
    return None


def _problem_of(text: str) -> str | None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        return f"pip install {text!r}: {error}"
    known = set(metadata.metadata("c2cotel").get_all("Provides-Extra") or [])
    unknown = requirement.extras - known
    if requirement.name == "c2cotel" and unknown:
        return f"pip install {text!r}: no extra {sorted(unknown)}; there are {sorted(known)}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
