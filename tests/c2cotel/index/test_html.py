"""What an application adds to the console: the functions of c2cwsgiutils, escaped."""

import pytest
from markupsafe import Markup

from c2cotel import index
from c2cotel.index import button, form, input_, link, paragraph, section

EVIL = "<script>\"'&"
ESCAPED = "&lt;script&gt;&#34;&#39;&amp;"


def test_the_functions_nest_and_what_they_gave_is_not_escaped_again():
    made = section("Cache", paragraph("a ", link("../a?b=1&c", "A")), sep=False)
    assert made == (
        '<section class="block"><h2>Cache</h2><p>a \n'
        '<a href="../a?b=1&amp;c" class="btn btn-primary" target="_blank" rel="noopener">A</a>'
        "</p></section>"
    )
    assert section("Cache") == '<section class="block"><h2>Cache</h2></section><hr>'


@pytest.mark.parametrize(
    "made",
    [
        section(EVIL),
        section("", EVIL),
        paragraph(EVIL),
        paragraph(title=EVIL),
        link(EVIL, ""),
        link("", EVIL),
        link("", "", cssclass=EVIL),
        link("", "", target=EVIL),
        form(EVIL),
        form("", EVIL),
        form("", target=EVIL),
        input_(EVIL, ""),
        input_("", EVIL),
        input_("", type_=EVIL),
        input_("", value=EVIL),
        button(EVIL),
    ],
)
def test_what_they_are_given_is_escaped(made):
    assert isinstance(made, Markup)
    assert ESCAPED in made
    assert "<script>" not in made


def test_a_form_can_be_sent_by_get_or_post():
    assert form("/a", "x", target="") == '<form class="form" action="/a">x</form>'
    assert form("/a", method="post") == (
        '<form class="form" action="/a" target="_blank" method="post" '
        'enctype="multipart/form-data"></form>'
    )


def test_an_input_has_a_label_and_a_type_made_of_its_name_and_value():
    assert input_("cache_key") == (
        '<div class="field"><label>Cache key <input type="text" name="cache_key" value="">'
        "</label></div>"
    )
    assert '<input type="number" name="n" value="3">' in input_("n", value=3)
    assert input_("n", type_="hidden", value="x") == '<input type="hidden" name="n" value="x">'


def test_the_link_to_a_view_that_is_off_is_nothing():
    assert link(None, "Versions") == ""
    assert form(None, "x") == ""


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " \x01javascript:alert(1)",
        "java\nscript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "blob:https://example.com/x",
    ],
)
def test_an_address_that_may_run_a_script_leaves_only_the_label(url):
    assert link(url, "Click") == "<span>Click</span>"
    assert form(url, "x") == ""


@pytest.mark.parametrize(
    "url",
    [
        *("https://example.com/a:b", "HTTP://example.com", "mailto:a@example.com", "../a", ""),
        *("/a?b=javascript:x", "#a", "//example.com/", "?a:b", "./a:b"),
    ],
)
def test_other_addresses_are_kept(url):
    assert f'href="{url}"' in link(url, "Click")


# --- on the console -------------------------------------------------------------------------------


def test_what_is_added_is_on_the_page_of_those_it_is_for(reader, start):
    index.additional_title = "The maps"
    index.additional_noauth.append(link("../", "The application"))
    index.additional_auth.append(section("Cache", button("Empty it")))
    anonymous, logged_in = start().page(), reader.page()
    for page in (anonymous, logged_in):
        assert "The maps" in page.text
        assert page.all("a", href="../")
    assert "Empty it" not in anonymous.text
    assert "Empty it" in logged_in.text


def test_a_plain_text_is_escaped_and_a_safe_one_is_not(browser):
    index.additional_noauth += [EVIL, Markup("<b>bold</b>")]
    html = browser.get("/c2c").text
    assert f"<p>{ESCAPED}</p>" in html
    assert "<b>bold</b>" in html


def test_a_module_may_assign_them_anew_after_the_start(browser, monkeypatch):
    monkeypatch.setattr(index, "additional_title", ["One", Markup("<i>Two</i>")])
    monkeypatch.setattr(index, "additional_noauth", ["Three"])
    html = browser.get("/c2c").text
    assert "<p>One</p>" in html
    assert "<i>Two</i>" in html
    assert "<p>Three</p>" in html
