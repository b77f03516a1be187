"""``config.include("c2cotel.pyramid")`` where nothing has set up telemetry before."""

import os
import subprocess
import sys

import pytest

# As pserve does with an ini file: logging first, then the application.
APPLICATION = """
import logging.config, os
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"f": {"format": "%(levelname)s [%(request_id)s] %(name)s: %(message)s"}},
    "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
    "root": {"level": "INFO", "handlers": ["h"]},
})
from pyramid.config import Configurator
from pyramid.response import Response
from webob import Request

config = Configurator(settings=SETTINGS)
config.include("c2cotel.pyramid")
config.add_route("r", "/r")
config.add_view(lambda request: Response(request.c2c_request_id), route_name="r")
app = config.make_wsgi_app()
response = Request.blank("/r", headers={"X-Request-ID": "i" * 36}).get_response(app)
print(response.status, len(response.text), os.environ.get("OTEL_PROPAGATORS"))
"""


@pytest.fixture
def included(tmp_path):
    """``included(settings, OTEL_X="…")``: the status, stdout and stderr of such an application."""

    def run(settings=None, /, application=APPLICATION, **environ):
        ours = ("C2C_", "OTEL_", "LOG_", "GIT_HASH")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        done = subprocess.run(
            [sys.executable, "-c", application.replace("SETTINGS", repr(settings))],
            env={**kept, "C2C_RUN_DIR": f"{tmp_path}/run", "PYTHONWARNINGS": "ignore", **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr.splitlines()

    return run


def test_all_that_is_said_meanwhile_can_be_formatted_with_the_request_id(included):
    status, output, errors = included(
        {"c2c.base_paht": "/x"},
        C2C_PROMETHEUS_PORT="0",
        C2C_PROMETHEUS_HOST="127.0.0.1",
        OTEL_PROPAGATORS="tracecontext,b9,c2c_request_id",
        OTEL_TRACES_SAMPLER="dice",
    )
    assert (status, output) == (0, "200 OK 36 tracecontext,c2c_request_id\n")
    said = [line.partition(": ") for line in errors]
    assert {place for place, _, _ in said} == {
        "WARNING [] opentelemetry.sdk._configuration",
        "WARNING [] c2cotel.metrics.serving",
        "ERROR [] c2cotel.pyramid",
        "WARNING [] c2cotel.pyramid.settings",
    }


@pytest.mark.parametrize(
    ("chosen", "missing", "left"),
    [
        ("tracecontext, b9 ,c2c_request_id", "b9", "tracecontext,c2c_request_id"),
        ("b9,dice", "b9, dice", "none"),
    ],
)
def test_a_propagator_that_does_not_exist_is_said_and_left_out(included, chosen, missing, left):
    status, output, (line,) = included(OTEL_PROPAGATORS=chosen)
    assert (status, output) == (0, f"200 OK 36 {left}\n")
    start = f"ERROR [] c2cotel.pyramid: OTEL_PROPAGATORS = {chosen}: there is no {missing}. "
    assert line.startswith(start)


@pytest.mark.parametrize("chosen", ["", "tracecontext, baggage", "none"])
def test_those_that_exist_are_left_alone(included, chosen):
    status, output, errors = included(OTEL_PROPAGATORS=chosen)
    assert (status, output, errors) == (0, f"200 OK 36 {chosen}\n", [])


def test_a_setting_of_the_application_that_cannot_be_stops_it(included):
    status, _, errors = included({"c2c.request_id_response": "perhaps"})
    assert status == 1
    assert errors[-1].startswith(
        "c2cotel.schema.secrets.SettingsError: c2c.request_id_response = 'perhaps'"
    )


PREFIXED = """
from pyramid.config import Configurator
from webob import Request
from c2cotel.pyramid.access import Access

config = Configurator()
config.include("c2cotel", route_prefix="pre")
config.add_c2c_view("size", lambda _: {"size": 1}, access=Access.PUBLIC)
app = config.make_wsgi_app()
print(Request.blank("/pre/c2c/size").get_response(app).text, config.route_prefix)
"""


def test_a_view_of_the_applications_is_beside_ours_wherever_the_include_was(included):
    assert included(application=PREFIXED) == (0, '{"size":1} None\n', [])


# Sessions for each thread, known to zope.sqlalchemy: nobody has told them of a transaction.
OWN_SESSIONS = """
import sqlalchemy as sa, zope.sqlalchemy
from pyramid.config import Configurator
from sqlalchemy.orm import DeclarativeBase, mapped_column, scoped_session, sessionmaker
from webob import Request

class Base(DeclarativeBase):
    pass

class Word(Base):
    __tablename__ = "word"
    text = mapped_column(sa.String, primary_key=True)

engine = sa.create_engine("sqlite:///words.db")
Base.metadata.create_all(engine)
sessions = scoped_session(sessionmaker(engine))
zope.sqlalchemy.register(sessions)

def add(request):
    sessions.add(Word(text=request.params["text"]))
    return "added"

config = Configurator(settings=SETTINGS)
config.include("c2cotel.pyramid")
config.add_route("r", "/r")
config.add_view(add, route_name="r", renderer="json")
app = config.make_wsgi_app()
for text in "a", "b", "a":
    response = Request.blank("/r?text=" + text).get_response(app)
    print(response.status, response.content_type)
with engine.connect() as connection:
    print(connection.scalar(sa.text("SELECT count(*) FROM word")))
engine.dispose()
"""


def test_what_an_application_writes_in_sessions_of_its_own_is_committed(
    included, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    status, output, _ = included({"c2c.enable_exception_handling": "1"}, OWN_SESSIONS)
    good, bad = "200 OK application/json", "400 Bad Request application/json"
    assert (status, output.splitlines()) == (0, [good, good, bad, "2"])
