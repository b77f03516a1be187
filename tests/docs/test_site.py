"""The site as MkDocs makes it: no broken link, nothing from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from c2cotel_docs import DOCS, ROOT

# What a browser fetches by itself.
FETCHED = {
    ("script", "src"),
    ("img", "src"),
    ("link", "href"),
    ("source", "src"),
    ("iframe", "src"),
}
NOT_FETCHED = {"canonical", "prev", "next"}


def build(config, site, **environ):
    """Run MkDocs as `make lint` does, without network and with nothing in the environment."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site, "-f", config],
        env={"PATH": os.defpath, "NO_MKDOCS_2_WARNING": "1", "http_proxy": "http://0.0.0.0:1"}
        | environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "mkdocs.yml", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def copy(tmp_path):
    """The documentation, to be changed, and what it links to."""
    shutil.copytree(DOCS, tmp_path / "docs")
    for name in ("mkdocs.yml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    for outside in ("dashboards", "acceptance", "instrumentation", "c2cotel", "README.md"):
        (tmp_path / outside).symlink_to(ROOT / outside)
    for outside in ("CONTRIBUTING.md", "Makefile", "LICENSE"):
        (tmp_path / outside).symlink_to(ROOT / outside)
    return tmp_path


def test_a_build_is_silent_but_for_what_it_does(tmp_path):
    done = build(ROOT / "mkdocs.yml", tmp_path)
    told = [line for line in done.stderr.splitlines() if not line.startswith("INFO")]
    assert (done.returncode, told, done.stdout) == (0, [], "")


class Fetched(HTMLParser):
    def __init__(self):
        super().__init__()
        self.urls = []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get("rel") in NOT_FETCHED:
            return
        self.urls += [url for name, url in attrs if (tag, name) in FETCHED]


def test_nothing_that_a_page_shows_comes_from_elsewhere(site):
    seen = 0
    for path in site.rglob("*.html"):
        parser = Fetched()
        parser.feed(path.read_text())
        seen += len(parser.urls)
        assert [url for url in parser.urls if re.match(r"(\w+:)?//", url)] == [], path
    for path in site.rglob("*.css"):
        assert re.findall(r"url\([\"']?(?:https?:)?//|@import", path.read_text()) == [], path
    assert seen > 100


def test_what_makes_pages_is_not_on_the_site(site):
    assert not (site / "src").exists()
    assert list(site.rglob("*.py")) == []


def test_every_runbook_has_its_place_in_the_menu(site):
    menu = (site / "index.html").read_text()
    for runbook in (DOCS / "runbooks").glob("*.md"):
        assert f'href="runbooks/{runbook.stem}/"' in menu


def test_a_link_out_of_the_documentation_leads_to_the_repository(site):
    page = (site / "migrating/index.html").read_text()
    assert 'href="https://github.com/camptocamp/c2cotel/blob/main/CHANGELOG.md"' in page


def test_links_to_nowhere_and_pages_that_are_not_in_the_menu_fail(copy):
    wrong = {
        "[x](nowhere.md)": "nowhere.md",
        "[x](start.md#nowhere)": "does not contain an anchor '#nowhere'",
        "[x](../NOWHERE.md)": "links to ../NOWHERE.md, which does not exist",
        "![x](pictures/nowhere.png)": "pictures/nowhere.png",
        "[x](/start/)": "absolute link '/start/'",
    }
    with (copy / "docs/comparison.md").open("a") as page:
        page.writelines(f"\n\n{text}\n" for text in wrong)
    (copy / "docs/stray.md").write_text("# Stray\n")
    done = build(copy / "mkdocs.yml", copy / "site")
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert "  - stray.md" in done.stderr
    for message in wrong.values():
        assert any(message in line for line in told), message
