"""What the settings say about the tag of statements, in a process that is instrumented."""

import json
import re

ASK = """
import json, sqlalchemy
from c2cotel import otel
from opentelemetry import trace
{first}
engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
sent = []
with engine.connect() as connection:
    connection.connection.driver_connection.set_trace_callback(sent.append)
    with trace.get_tracer("test").start_as_current_span("script") as span:
        connection.exec_driver_sql("SELECT 1")
named = len(list(engine.dispatch.begin))
print(json.dumps([sent[0], list(span.get_span_context()[:2]), named]))
"""


def asked(instrumented, first="", **environ):
    done = instrumented(ASK.format(first=first), **environ)
    assert done.errors == []
    return json.loads(done.output)


def from_ini(**settings):
    return f"otel.set_up(ini={ {f'c2c.{key}': value for key, value in settings.items()} })"


def test_without_a_setting_statements_are_left_alone(instrumented):
    sent, _, named = asked(instrumented, OTEL_SERVICE_NAME="shop")
    assert (sent, named) == ("SELECT 1", 0)


def test_the_tag_and_the_application_come_from_the_environment(instrumented):
    sent, _, named = asked(instrumented, C2C_SQL_TAG="static", OTEL_SERVICE_NAME="shop")
    assert (sent, named) == ("SELECT 1 /*application='shop'*/", 0)


def test_a_service_that_nobody_has_named_is_not_told(instrumented):
    sent, _, _ = asked(instrumented, C2C_SQL_TAG="static")
    assert sent == "SELECT 1"


def test_the_tag_with_the_trace_has_the_span_of_the_statement(instrumented):
    sent, (trace_id, span_id), _ = asked(instrumented, C2C_SQL_TAG="traceparent")
    found = re.fullmatch(r"SELECT 1 /\*traceparent='00-([0-9a-f]+)-([0-9a-f]{16})-0[13]'\*/", sent)
    assert int(found[1], 16) == trace_id
    assert int(found[2], 16) != span_id


def test_the_request_id_alone_is_the_name_of_transactions(instrumented):
    for environ in ({"C2C_SQL_REQUEST_ID": "1"}, {"C2C_SQL_TAG": "application_name"}):
        sent, _, named = asked(instrumented, **environ)
        assert (sent, named) == ("SELECT 1", 1)


def test_the_request_id_goes_along_with_a_comment(instrumented):
    environ = {"C2C_SQL_REQUEST_ID": "1", "C2C_SQL_TAG": "static", "OTEL_SERVICE_NAME": "shop"}
    sent, _, named = asked(instrumented, **environ)
    assert (sent, named) == ("SELECT 1 /*application='shop'*/", 1)


def test_the_ini_of_the_application_is_followed(instrumented):
    sent, _, named = asked(
        instrumented, from_ini(sql_tag="static", sql_request_id="true"), OTEL_SERVICE_NAME="shop"
    )
    assert (sent, named) == ("SELECT 1 /*application='shop'*/", 1)


def test_an_instrumentor_that_is_disabled_stays_so_whatever_the_ini_says(instrumented):
    sent, _, named = asked(
        instrumented,
        from_ini(sql_tag="static", sql_request_id="true"),
        OTEL_SERVICE_NAME="shop",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="sql_tag",
    )
    assert (sent, named) == ("SELECT 1", 0)
