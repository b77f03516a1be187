"""What a ``.dockerignore`` leaves out.

Source: https://docs.docker.com/build/concepts/context/#dockerignore-files.
"""

import re


class Ignore:
    """The patterns of a ``.dockerignore``: of those that fit a path or what it is in, the last."""

    def __init__(self, text):
        lines = [line.strip() for line in text.splitlines()]
        self._rules = [
            (line.startswith("!"), _pattern(line.removeprefix("!").strip("/")))
            for line in lines
            if line and not line.startswith("#")
        ]

    def leaves_out(self, path):
        parts = path.split("/")
        above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
        out = False
        for kept, pattern in self._rules:
            if any(pattern.fullmatch(one) for one in above):
                out = not kept
        return out


def _pattern(text):
    words = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts))
