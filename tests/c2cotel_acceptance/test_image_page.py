"""What is told about a page before any browser is there."""

import pytest

from c2cotel_acceptance import image
from c2cotel_acceptance.image_page import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://a/b?page=2", "http://a/b?page=2"),
        ("http://me:secret@a:80/b", "http://a:80/b"),
        ("http://a/b?secret=x y", "http://a/b?secret=… y"),
        ("GET http://a/?a=1&access_token=x&b=2#c", "GET http://a/?a=1&access_token=…&b=2#c"),
        ("http://a/#id_token=x", "http://a/#id_token=…"),
        ("http://a/?X-Amz-Signature=0a&API_KEY=1b", "http://a/?X-Amz-Signature=…&API_KEY=…"),
    ],
)
def test_secrets_in_addresses_are_not_told(text, shown):
    assert masked(text) == shown


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"width": 0}, "A window of 0x600 pixels shows nothing"),
        ({"level": 100}, "level=100: expected a number from 0 to 1"),
        (
            {"media": [{"prefers-color-scheme": "dark"}]},
            r"expected a name and a value, for example \{'name': 'prefers-color-scheme'",
        ),
    ],
)
def test_an_argument_that_makes_no_sense_is_told_before_a_browser_starts(tmp_path, how, told):
    with pytest.raises(ValueError, match=told):
        image.check_screenshot("http://localhost/", tmp_path, tmp_path / "a.expected.png", **how)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_browser_is_told_with_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("C2C_ACCEPTANCE_CHROMIUM", raising=False)
    with pytest.raises(RuntimeError, match=r"apt-get install .*chromium"):
        image.check_screenshot("http://localhost/", tmp_path, tmp_path / "a.expected.png")
