"""The links of what is written in Markdown; ``make links`` asks every address on the Internet.

No test does that: other people's sites are down when they like. What is tested is that each address
is well-formed and of a host that is known here, and that relative links lead to something.
"""

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import requests

from c2cotel_docs import ROOT, pages

# Where documentation may send its readers.
HOSTS: Final = frozenset(
    {
        "docs.gunicorn.org",
        "docs.pylonsproject.org",
        "docs.python.org",
        "docs.sentry.io",
        "docs.sqlalchemy.org",
        "github.com",
        "google.github.io",
        "grafana.com",
        "keepachangelog.com",
        "kubernetes.io",
        "opentelemetry-python.readthedocs.io",
        "opentelemetry.io",
        "prometheus.github.io",
        "prometheus.io",
        "pypi.org",
        "redis.io",
        "semver.org",
        "uwsgi-docs.readthedocs.io",
        "valkey.io",
        "www.postgresql.org",
        "www.rfc-editor.org",
        "www.w3.org",
    }
)
# Addresses that are an example: of the reader's own machine, or of nobody.
_EXAMPLE = re.compile(r"localhost|127\.0\.0\.1|\[|.*[.]example([.]\w+)?|[\w-]+|example\.\w+")

_FENCED = re.compile(r"^(\s*)(`{3,})[^\n]*\n.*?^\s*\2\s*$", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(
    r"\]\(\s*<?([^)\s>]+)>?(?:\s+[\"'][^)]*)?\s*\)|<(https?://[^>\s]+)>|^\[[^\]]+\]:\s*(\S+)",
    re.MULTILINE,
)
_HEADING = re.compile(r"^#+\s+(.*?)\s*$", re.MULTILINE)
_TIMEOUT: Final = 20.0


def written() -> list[Path]:
    """What people read: the pages, and the Markdown files beside the code."""
    folders = ("acceptance", "dashboards", "instrumentation")
    beside = (path for folder in folders for path in (ROOT / folder).rglob("*.md"))
    files = [*ROOT.glob("*.md"), *(path for path in beside if "node_modules" not in path.parts)]
    return sorted({*files, *pages()})


def links(path: Path) -> Iterator[str]:
    """What *path* links to, outside of code."""
    text = _CODE.sub("", _FENCED.sub("", path.read_text(encoding="utf-8")))
    for found in _LINK.finditer(text):
        yield next(filter(None, found.groups()))


def external(path: Path) -> list[str]:
    """The addresses that *path* links to."""
    return [link for link in links(path) if re.match(r"\w+:", link)]


def wrong(url: str) -> str | None:
    """What is wrong with *url* as it stands; None if nothing is."""
    parts = urlsplit(url)
    if parts.scheme == "mailto":
        return None
    if parts.scheme != "https":
        return f"{url}: not https"
    if parts.hostname not in HOSTS and not _EXAMPLE.fullmatch(parts.hostname or ""):
        return f"{url}: add its host to c2cotel_docs/links.py, if readers should be sent there"
    return None


def dangling(path: Path) -> list[str]:
    """The relative links of *path* that lead to no file, or to no heading of it."""
    found = []
    for link in links(path):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        file = (path.parent / target).resolve() if target else path
        headings = anchors(file) if file.suffix == ".md" and file.exists() else {anchor}
        if not file.exists() or (anchor and anchor not in headings):
            found.append(link)
    return found


def anchors(path: Path) -> set[str]:
    """The names of the headings of *path*, as GitHub makes them."""
    text = _FENCED.sub("", path.read_text(encoding="utf-8"))
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in plain}


def answer(url: str) -> str | None:
    """What *url* answers if it is not what a reader expects."""
    agent = {"User-Agent": "Mozilla/5.0 (links of the documentation of c2cotel)"}
    try:
        with requests.get(url, headers=agent, timeout=_TIMEOUT, stream=True) as response:
            return None if response.ok else f"{url}: {response.status_code} {response.reason}"
    except requests.RequestException as error:
        return f"{url}: {error}"


def main() -> int:
    """Ask all of them; 1 if one does not answer."""
    urls = sorted({url.partition("#")[0] for path in written() for url in external(path)})
    asked = [url for url in urls if urlsplit(url).hostname in HOSTS]
    with ThreadPoolExecutor(8) as pool:
        failures = [failure for failure in pool.map(answer, asked) if failure]
    for failure in failures:
        sys.stdout.write(f"{failure}\n")
    sys.stdout.write(f"{len(asked)} addresses asked, {len(failures)} failed\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
