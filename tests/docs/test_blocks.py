"""What a page shows is done, in the order of the page, and what it says is printed."""

import sys

import pytest

from c2cotel_docs import ROOT, blocks, checks, pages, running

PAGES = pages()
# What is in them is read, not run: they show parts of files, and commands for other places.
OTHERS = [
    ROOT / name
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "acceptance/app/README.md")
] + sorted(
    path
    for folder in ("dashboards", "instrumentation")
    for path in (ROOT / folder).rglob("README.md")
)


def named(path):
    return path.relative_to(ROOT).as_posix()


# Servers are started, on a machine that may be busy.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", PAGES, ids=named)
def test_a_page_works_as_it_is_written(path, tmp_path, environment_for):
    page = blocks.read(path, ROOT)
    running.run(page, tmp_path, environment_for(page))


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_what_is_not_run_says_why(path):
    not_run = [block for block in blocks.read(path, ROOT).blocks if block.not_run is not None]
    told = [f"{block.page}:{block.line}: {block.not_run}\n" for block in not_run]
    sys.stdout.writelines(told)  # to be read with `pytest -rP`
    assert [line for line in told if line.endswith(": \n")] == []


@pytest.mark.parametrize("path", OTHERS, ids=named)
def test_the_blocks_of_other_files_can_be_read(path):
    for block in blocks.read(path, ROOT).blocks:
        if block.language:
            checks.check(block)
