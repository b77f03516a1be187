"""Links of what is written: relative ones lead to something, addresses are well-formed.

Nobody is asked on the Internet here; `make links` does that.
"""

import pytest

from c2cotel_acceptance.servers import closed_port
from c2cotel_docs import ROOT, links


def named(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", links.written(), ids=named)
def test_relative_links_lead_to_a_file_and_a_heading(path):
    assert links.dangling(path) == []


@pytest.mark.parametrize("path", links.written(), ids=named)
def test_addresses_are_of_known_hosts(path):
    assert [told for url in links.external(path) if (told := links.wrong(url))] == []


def test_every_kind_of_link_is_found_and_code_is_left_alone(tmp_path):
    page = tmp_path / "a.md"
    page.write_text(
        "# A page: of `x`\n[one](b.md) ![two](c.png 'two') [three](d.md \"title\")\n"
        "<https://opentelemetry.io/> `[no](no.md)`\n\n```text\n[no](no.md)\n```\n\n"
        "[four]: e.md\n[five](#a-page-of-x) [six](#nowhere) [seven](a.md#a-page-of-x)\n"
    )
    assert list(links.links(page)) == [
        "b.md",
        "c.png",
        "d.md",
        "https://opentelemetry.io/",
        "e.md",
        "#a-page-of-x",
        "#nowhere",
        "a.md#a-page-of-x",
    ]
    assert links.dangling(page) == ["b.md", "c.png", "d.md", "e.md", "#nowhere"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://opentelemetry.io/docs/", None),
        ("https://grafana.example/d/x", None),
        ("mailto:somebody@example.com", None),
        ("http://opentelemetry.io/", "not https"),
        ("ftp://opentelemetry.io/", "not https"),
        ("https://opentelemetry.i\u043e/", "add its host"),
        ("https://cdn.example.net.evil.com/x", "add its host"),
    ],
)
def test_an_address_that_is_wrong_is_told(url, told):
    said = links.wrong(url)
    assert (said is None) if told is None else told in said


def test_what_an_address_answers_is_told_if_nobody_can_read_it(httpserver):
    httpserver.expect_request("/here").respond_with_data("text")
    httpserver.expect_request("/gone").respond_with_data("", status=404)
    assert links.answer(httpserver.url_for("/here")) is None
    assert links.answer(httpserver.url_for("/gone")).endswith("/gone: 404 NOT FOUND")
    with closed_port() as port:
        assert "Max retries exceeded" in links.answer(f"http://127.0.0.1:{port}/")
