"""XML that a connection reads; lxml does it."""

import sys

import pytest

from c2cotel_acceptance.connection import CheckError
from c2cotel_acceptance.processes import MissingError

SCHEMA = """\
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="count" type="xs:integer"/>
</xs:schema>
"""


def test_without_lxml_it_says_what_to_install(server, api, monkeypatch):
    monkeypatch.setitem(sys.modules, "lxml.etree", None)
    with pytest.raises(MissingError, match=r"get_xml needs lxml: pip install 'c2cotel\[accept"):
        api.get_xml("a")
    assert server.asked == []


@pytest.fixture
def schema(tmp_path):
    pytest.importorskip("lxml")
    file = tmp_path / "schema.xsd"
    file.write_text(SCHEMA)
    return file


def test_a_valid_document_is_given(server, api, schema):
    server.answer("/a", body=b"<count>3</count>", Content_Type="text/xml")
    assert api.get_xml("a", str(schema)).getroot().text == "3"
    assert api.get_xml("a").getroot().tag == "count"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<count>three</count>", "not valid by {schema}: line 1: Element 'count': 'three' is not"),
        (b"<count>3", "broken XML: "),
        (b"", "broken XML: "),
        (b"\xff\xfe\x00", "broken XML: "),
    ],
)
def test_another_document_is_told(server, api, schema, body, said):
    server.answer("/a", body=body, Content_Type="text/xml")
    with pytest.raises(CheckError) as caught:
        api.get_xml("a", schema)
    assert said.format(schema=schema) in str(caught.value)


def test_a_document_reads_no_file(server, api, schema):
    server.answer(
        "/a",
        body=f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{schema}">]><a>&x;</a>'.encode(),
        Content_Type="text/xml",
    )
    assert "integer" not in "".join(api.get_xml("a").getroot().itertext())
