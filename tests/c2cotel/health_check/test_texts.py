"""What everybody is told of a failure, and what the authorised are."""

import socket

import pytest
import requests
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from c2cotel.health_check.texts import private_text, public_text, shown_url, without_places


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("I'm not happy", "I'm not happy"),
        ("12 of 30 tiles, 3.5 s, at 12:30", "12 of 30 tiles, 3.5 s, at 12:30"),
        ("Invalid version (db: 1.2.3, code: 1.2.4)", "Invalid version (db: 1.2.3, code: 1.2.4)"),
        ("cannot reach db:5432", "cannot reach [host]"),
        ("cannot reach 10.0.0.1", "cannot reach [host]"),
        ("cannot reach [2001:db8::1]:80 or ::1", "cannot reach [host] or [host]"),
        ("cannot reach db.prod.example.ch", "cannot reach [host]"),
        ("cannot reach db.internal", "cannot reach [host]"),
        ('could not translate host name "db" to', "could not translate host name [host] to"),
        ("HTTPConnectionPool(host='db', port=80)", "HTTPConnectionPool(host=[host], port=80)"),
        ("at https://me:pw@host/path?token=1 now", "at [url] now"),
        ("password=hunter2 failed", "password=REDACTED failed"),
        ("api_key: 'a b c', ok", "api_key: REDACTED, ok"),
        ("No such file: /app/etc/secret.ini", "No such file: [file]"),
        ("SELECT a FROM b WHERE c = 3", "[statement]"),
        ("failed: UPDATE a SET b = 1", "failed: [statement]"),
        ("select secret from users where id = 3", "[statement]"),
        ("failed: select pg_sleep(3)", "failed: [statement]"),
        ("Update only a.users u Set name = 'x'", "[statement]"),
        ("delete from users where id = 3", "[statement]"),
        ("insert into users values (1)", "[statement]"),
        ("with recursive t (n) as (values (1)) table t", "[statement]"),
        ("WITH t AS MATERIALIZED (SELECT 1)", "[statement]"),
        ("alter table users add x int", "[statement]"),
        ("ALTER ROLE me PASSWORD 'x'", "[statement]"),
        ("call pay(3)", "[statement]"),
        ("TRUNCATE users", "[statement]"),
        ("truncate table users", "[statement]"),
        ("TABLE users", "[statement]"),
        ("Please select a layer from the list", "Please select a layer from the list"),
        ("cannot update the cache: no set of tiles", "cannot update the cache: no set of tiles"),
        ("with one as the other (not both)", "with one as the other (not both)"),
        ("call the table by its name", "call the table by its name"),
        ("cannot truncate text", "cannot truncate text"),
        ("code:404, EPSG:21781, line:12", "code:404, EPSG:21781, line:12"),
        ("tiles.wmts.layer is missing", "tiles.wmts.layer is missing"),
        ("cannot reach db.prod.acme", "cannot reach [host]"),
        ("db.prod.acme:99 and redis:6379 and web:80", "[host] and [host] and [host]"),
        ("two\n lines", "two lines"),
    ],
)
def test_places_are_taken_out(text, shown):
    assert without_places(text) == shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            sqlalchemy.exc.OperationalError("SELECT 1", {}, TimeoutError("at db")),
            "OperationalError: TimeoutError",
        ),
        (sqlalchemy.exc.NoResultFound("SELECT 1"), "NoResultFound"),
        (requests.ConnectionError("HTTPConnectionPool(host='db')"), "ConnectionError"),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "ConnectionRefusedError: Connection refused",
        ),
        (FileNotFoundError(2, "No such", "/etc/x"), "FileNotFoundError: No such file or directory"),
        (socket.gaierror(-2, "Name or service not known"), "gaierror: Name or service not known"),
        (OSError("odd"), "odd"),
    ],
)
def test_errors_of_libraries_are_told_by_their_kind(error, shown):
    assert public_text(error) == shown


def test_the_authorised_are_told_everything_but_secrets():
    error = ValueError("db:5432 said no to postgresql://me:hunter2@db/app, pwd=hunter2")
    assert private_text(error) == (
        "db:5432 said no to postgresql://me:REDACTED@db/app, pwd=REDACTED"
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://localhost:8080/api/hello", "http://localhost:8080/api/hello"),
        ("http://me:pass@host/a?token=x&b=1", "http://host/a?token=REDACTED&b=1"),
        ("http://host/a?map=x&key=abc&KEY=d#e", "http://host/a?map=x&key=REDACTED&KEY=REDACTED#e"),
        ("http://host/a?monkey=abc", "http://host/a?monkey=abc"),
        ("redis://:pw@redis:6379/0", "redis://redis:6379/0"),
    ],
)
def test_a_name_has_no_secret(url, shown):
    assert shown_url(url) == shown


@given(st.text(max_size=300))
def test_any_text_becomes_one_line(text):
    shown = without_places(text)
    assert len(shown) <= 500
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    "piece",
    [
        "a.",
        "1.",
        ":",
        "a:",
        "/a",
        "UPDATE ",
        "SELECT ",
        "::",
        "-a",
        "'",
        "with a as ",
        "select a.",
        "at a.",
    ],
)
def test_no_text_takes_long(piece):
    assert len(without_places(piece * 100_000)) <= 500
