"""Compositions. There is no docker where these run: a small program answers in its place."""

import sys

import pytest

from c2cotel_acceptance import composition as module
from c2cotel_acceptance.composition import Composition, CompositionError
from c2cotel_acceptance.processes import MissingError

HEALTHY = [["running", "healthy", 0]]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(module, "_INTERVAL", 0.01)


@pytest.fixture(autouse=True)
def one_worker(monkeypatch):
    """Each of these compositions is one test's, whatever these tests themselves are run by."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)


@pytest.fixture
def file(tmp_path):
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "compose.yaml").write_text("services: {}\n")
    return folder / "compose.yaml"


@pytest.fixture
def composition(request, docker, file):
    made = Composition(request, str(file), timeout=20)
    (docker.folder / "calls").unlink()
    return made


def test_it_is_built_started_awaited_and_taken_down(request, docker, file):
    docker.services(
        app=[["created", "", 0], ["running", "starting", 0], *HEALTHY],
        migration=[["running", "", 0], ["exited", "", 0]],
    )
    with Composition(request, file) as composition:
        assert docker.calls() == ["down --remove-orphans", "build", "up --detach"]
        assert [str(one) for one in composition.containers()] == [
            "app-app-1 is running (healthy)",
            "app-migration-1 is exited (status 0)",
        ]
    assert docker.calls()[3:] == ["stop", "down --remove-orphans"]


def test_after_a_with_it_is_not_ended_again(request, docker, file, tmp_path, monkeypatch):
    ends = []
    monkeypatch.setattr(type(request), "addfinalizer", lambda _, end: ends.append(end))
    with Composition(request, file, ["app-app-1:/tmp/.coverage"], reports=tmp_path):
        pass
    (docker.folder / "calls").unlink()
    for end in ends:
        end()
    assert docker.calls() == []


def test_a_project_has_its_name_and_variables(request, docker, file):
    Composition(request, file, project="mine", build=False, env={"TAG": "x"}, timeout=20)
    assert docker.calls() == [
        "--project-name=mine down --remove-orphans",
        "--project-name=mine up --detach",
    ]


def test_compose_before_2_21_is_understood(request, docker, file):
    docker.answers_as_before_2_21()
    assert len(Composition(request, file, timeout=20).containers()) == 2


def test_a_service_is_stopped_started_and_restarted(composition, docker):
    composition.stop("db")
    assert {one.service: one.state for one in composition.containers()} == {
        "app": "running",
        "db": "exited",
    }
    composition.start("db")
    composition.restart("app")
    assert {one.state for one in composition.containers()} == {"running"}
    assert docker.calls() == ["stop db", "start db", "restart app"]


def test_a_command_runs_in_a_service_and_its_output_is_alone(composition, docker):
    echo = [sys.executable, "-c", "import sys; print('told', sys.stdin.read())"]
    assert composition.exec("db", *echo, input=b"this") == "told this\n"
    assert composition.run("db", "echo", "there") == "there\n"
    assert docker.calls()[1] == "run --rm -T db echo there"


def test_a_command_that_fails_is_told_with_all_it_wrote(composition):
    with pytest.raises(CompositionError) as caught:
        composition.exec("db", "sh", "-c", "echo out; echo err >&2; exit 3")
    said = str(caught.value)
    assert "compose --file=compose.yaml exec -T db sh -c" in said
    assert ": status 3\nout\n" in said
    assert said.endswith("err")
    assert caught.value.returncode == 3


def test_a_command_without_end_is_ended(composition):
    with pytest.raises(CompositionError, match=r"Ended after 0\.5 s"):
        composition.exec("db", "sleep", "30", timeout=0.5)


def test_a_service_that_does_not_exist_is_told(composition):
    with pytest.raises(CompositionError, match="no such service: cache"):
        composition.stop("cache")
    with pytest.raises(CompositionError, match="There is no container of cache"):
        composition.wait_healthy("cache", timeout=0)


def test_logs_are_those_of_both_outputs(composition, docker):
    told = composition.logs("app", tail=3)
    assert "app-1  | started\n" in told
    assert "other-1  | to stderr\n" in told
    assert docker.calls()[-1] == "logs --no-color --tail=3 app"


@pytest.mark.parametrize(
    ("told", "address"),
    [("0.0.0.0:32768", "127.0.0.1:32768"), ("[::]:32768", "[::1]:32768"), (":0", None)],
)
def test_a_port_is_found(request, docker, file, told, address):
    docker.services(app=HEALTHY, port=told)
    composition = Composition(request, file, timeout=20)
    if address:
        assert composition.address("app", 8080) == address
    else:
        with pytest.raises(CompositionError, match="port app 8080: status 1"):
            composition.address("app", 8080)


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([["running", "starting", 0], ["exited", "", 137]], "app-app-1 is exited (status 137)"),
        ([["running", "starting", 0], ["running", "unhealthy", 0]], "is running (unhealthy)"),
        ([["dead", "", 1]], "app-app-1 is dead"),
    ],
)
def test_a_service_that_is_ruined_is_told_at_once_with_its_log(request, docker, file, states, said):
    docker.services(app=states, db=HEALTHY, logs="No module named 'app'")
    with pytest.raises(CompositionError) as caught:
        Composition(request, file)
    assert f"will not become healthy: {'' if 'app-' in said else 'app-app-1 '}{said}" in str(
        caught.value
    )
    assert "app-1  | No module named 'app'" in str(caught.value)
    assert "db-1" not in str(caught.value)


def test_a_service_that_stays_starting_is_told_after_the_deadline(request, docker, file):
    docker.services(app=[["running", "starting", 0]], db=HEALTHY)
    with pytest.raises(CompositionError, match=r"not healthy after 0\.5 s: app-app-1 is running"):
        Composition(request, file, build=False, timeout=0.5)


def test_a_daemon_that_is_not_there_is_told(request, docker, file):
    docker.fails(down="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    with pytest.raises(CompositionError, match="Cannot connect to the Docker daemon"):
        Composition(request, file)
    docker.fails()


def test_without_docker_it_says_what_to_install(request, file, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="needs docker, and there is no such program on PATH"):
        Composition(request, file)


def test_without_compose_it_says_what_to_install(request, docker, file):
    docker.fails(**{"no compose": ""})
    with pytest.raises(MissingError, match=r"no 'compose' .* command: docker compose\. Install"):
        Composition(request, file)


@pytest.mark.usefixtures("docker")
def test_without_its_file_it_says_which(request, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"/nowhere\.yaml: no such compose file"):
        Composition(request, tmp_path / "nowhere.yaml")


def test_workers_of_xdist_do_not_stop_it_under_each_other(request, docker, file, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "2")
    with pytest.raises(pytest.UsageError, match=r"compose\.yaml: 2 workers of pytest-xdist would"):
        Composition(request, file)
    assert docker.calls() == []
    Composition(request, file, project="worker-1", build=False, timeout=20)
    monkeypatch.setenv("docker_start", "0")
    monkeypatch.setenv("docker_stop", "0")
    Composition(request, file)
    assert docker.calls()[-1] == "--project-name=worker-1 up --detach"


def test_coverage_data_is_copied(request, docker, file, tmp_path):
    with Composition(request, file, ["app-app-1:/tmp/.coverage"], reports=tmp_path / "reports"):
        pass
    assert docker.calls()[-2:] == [
        f"cp app-app-1:/tmp/.coverage {tmp_path}/reports",
        "down --remove-orphans",
    ]


def test_what_runs_already_may_be_left_alone(request, docker, file, monkeypatch):
    monkeypatch.setenv("docker_start", "0")
    monkeypatch.setenv("docker_stop", "0")
    with Composition(request, file):
        pass
    assert docker.calls() == []


def test_trying_again_is_as_it_was(composition, docker):
    docker.fails(build="no network")
    composition.dc_try(["build"], fail=False, times=2, delay=0)
    with pytest.raises(CompositionError, match="no network"):
        composition.dc_try(["build"], times=3, delay=0)
    assert docker.calls() == ["build"] * 5


TEST = """
def test_good(composition):
    assert composition.exec("app", "echo", "good") == "good\\n"

def test_bad(composition):
    assert composition.exec("app", "echo", "bad") == "good\\n"

def test_last(composition):
    pass
"""


def test_the_plugin_runs_the_composition_and_shows_its_logs_on_failure(docker, project):
    docker.services(app=HEALTHY, logs="about the failure")
    done = project(test=TEST)
    assert "1 failed, 2 passed" in done.stdout
    assert "app-1  | about the failure" in done.stderr
    assert docker.calls()[-3:] == ["logs --no-color --tail=200", "stop", "down --remove-orphans"]

    done = project("--deselect=test_it.py::test_bad", test=TEST)
    assert "2 passed" in done.stdout
    assert "about the failure" not in done.stderr + done.stdout


def test_a_failed_composition_is_kept_on_demand(docker, project):
    done = project(test=TEST, docker_keep="1")
    assert f"It still runs; in {project.folder}: {docker.folder}/docker compose" in done.stderr
    assert docker.calls()[-1] == "logs --no-color --tail=200"
    project("-k", "good", test=TEST, docker_keep="1")
    assert docker.calls()[-1] == "down --remove-orphans"


def test_the_plugin_says_when_there_is_no_docker_or_no_file(project, tmp_path):
    done = project(test=TEST, PATH=str(tmp_path))
    assert "3 errors" in done.stdout
    assert "MissingError: A composition needs docker" in done.stdout
    (project.folder / "compose.yaml").unlink()
    done = project(test=TEST)
    assert "docker-compose.yml. Set c2c_acceptance_compose_file" in done.stdout
