"""What the README says to write, in an application that has nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[3] / "README.md"
APPLICATION = """
from pyramid.config import Configurator
{imports}

def view(request):
    return request.dbsession.get_bind().c2c_name

def main(global_config, **settings):
    config = Configurator(settings=settings)
    {lines}
    for path in ("/api/hello", "/api/search"):
        config.add_route(path, path)
        config.add_view(view, route_name=path, renderer="json")
    return config.make_wsgi_app()
"""
ASK = """
import json, plaster
from pyramid.request import Request

app = plaster.get_loader("c2c://production.ini", protocols=["wsgi"]).get_wsgi_app()

def ask(line, **headers):
    method, path = line.split()
    request = Request.blank(path, method=method, headers=headers)
    return request.get_response(app).json_body

seen = [ask(line) for line in ("GET /api/hello", "POST /api/hello", "POST /api/search")]
switched = {}
for name in ("sql_profiler?enable=1", "sql_profiler?enable=0", "db/maintenance?readonly=true"):
    switched[name] = ask(f"GET /c2c/{name}", **{"X-API-Key": "a secret of the tests"})
print(json.dumps([seen, switched, ask("POST /api/hello"), ask("GET /api/hello")]))
"""


def blocks(language):
    """Those of the README about databases."""
    text = README.read_text()
    section = text[text.index("**The database.**") : text.index("[The database]")]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def seen(tmp_path):
    """``seen(**environ)``: what an application with these lines answers."""
    (code,), (ini,) = blocks("python"), blocks("ini")
    imports, _, lines = code.partition("\n\n")
    application = APPLICATION.format(imports=imports, lines=lines.strip().replace("\n", "\n    "))
    (tmp_path / "application.py").write_text(application)
    section = "[app:main]\npaste.app_factory = application:main\n"
    (tmp_path / "production.ini").write_text(section + ini)

    def ask(**environ):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ASK],
            cwd=tmp_path,
            env={"C2C_SECRET": "a secret of the tests", "C2C_RUN_DIR": str(tmp_path), **environ},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        # A key of the ini that is unknown would be warned of.
        assert [line for line in done.stderr.splitlines() if "by secret" not in line] == []
        return json.loads(done.stdout.splitlines()[-1])

    return ask


def test_there_are_three_lines():
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line]) == 3


@pytest.mark.parametrize("replicated", [True, False])
def test_they_and_the_ini_are_all_that_it_takes(seen, tmp_path, replicated):
    primary, replica = "sqlalchemy", "sqlalchemy_slave" if replicated else "sqlalchemy"
    urls = {"SQLALCHEMY_URL": f"sqlite:///{tmp_path}/primary.db"}
    if replicated:
        urls["SQLALCHEMY_SLAVE_URL"] = f"sqlite:///{tmp_path}/replica.db"
    engines, switched, written, read = seen(**urls)
    assert engines == [replica, primary, replica]
    assert switched == {
        "sql_profiler?enable=1": {"status": 200, "enabled": True},
        "sql_profiler?enable=0": {"status": 200, "enabled": False},
        "db/maintenance?readonly=true": {"status": 200, "readonly": True},
    }
    assert (written["status"], read) == (503, replica)
