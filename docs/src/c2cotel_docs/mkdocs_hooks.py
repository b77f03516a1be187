"""What MkDocs is told besides ``mkdocs.yml``: patterns in ``nav``, links into the repository.

A page links to what lies outside of the documentation by its relative path, which GitHub follows;
on the site that is the file on GitHub.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

REPOSITORY = "https://github.com/camptocamp/c2cotel/blob/main"
# `](../CHANGELOG.md#fixed)`: what follows the last `../` is checked, then linked to.
_OUTSIDE = re.compile(r"(?<=\]\()((?:\.\./)+[^)#\s]+)(#[^)\s]*)?(?=\))")
_LOG = logging.getLogger(f"mkdocs.hooks.{__name__}")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every page that a pattern of ``nav`` matches in its place."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def _expanded(nav: Any, folder: Path) -> Any:
    if isinstance(nav, list):
        return [_expanded(entry, folder) for entry in nav]
    if isinstance(nav, dict):
        return {title: _expanded(entry, folder) for title, entry in nav.items()}
    if isinstance(nav, str) and "*" in nav:
        return [path.relative_to(folder).as_posix() for path in sorted(folder.glob(nav))]
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: Any) -> str:
    """Link to GitHub what the page links to outside of the documentation."""
    docs = Path(config.docs_dir)
    root = docs.parent

    def linked(match: re.Match[str]) -> str:
        here = posixpath.join(docs.name, posixpath.dirname(page.file.src_uri), match[1])
        path = posixpath.normpath(here)
        if path.startswith(f"{docs.name}/"):
            return match[0]
        if path.startswith("..") or not (root / path).exists():
            # With --strict, a warning is an error.
            _LOG.warning("%s links to %s, which does not exist", page.file.src_uri, match[1])
        return f"{REPOSITORY}/{path}{match[2] or ''}"

    return _OUTSIDE.sub(linked, markdown)
