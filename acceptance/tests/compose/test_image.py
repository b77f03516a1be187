"""The image of the example: its Dockerfile, what it is built of, and that it runs as it says.

No image is built here. The steps of the Dockerfile are run on a copy of the application, and its
command as in the container: as nobody, on a file system that cannot be written to.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import requests

from c2cotel_acceptance import scraping, servers
from c2cotel_acceptance.connection import CacheExpected, Connection
from c2cotel_acceptance.processes import Process
from c2cotel_acceptance.telemetry import OtlpReceiver

from .conftest import ACCEPTANCE, APP, instructions, tool
from .ignoring import Ignore

ROOT = ACCEPTANCE.parent
BESIDE = Path(sys.executable).parent
CAP_DAC_READ_SEARCH = 1 << 2


def tracked(*folders):
    """The files of the repository, with what is not yet in it but will be."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for path in done.stdout.split("\0") if path and (ROOT / path).exists()]


# Dockerfile and contexts


@pytest.mark.parametrize("path", ["app/Dockerfile"])
def test_hadolint_has_nothing_to_say(path):
    done = subprocess.run(
        [tool("hadolint"), "--no-color", ACCEPTANCE / path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_it_runs_as_a_user_with_a_number_and_gets_its_signals_itself(dockerfile):
    last = {one.name: one.rest for one in dockerfile[-1]}
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    # A shell in between would keep SIGTERM for itself.
    assert last["CMD"].startswith("[")
    assert "ENTRYPOINT" not in last


def test_no_secret_is_in_the_image(dockerfile):
    told = [one.rest for stage in dockerfile for one in stage if one.name in ("ENV", "ARG")]
    assert not re.search(r"(?i)secret|passw|token|credential", " ".join(told))
    ignore = Ignore((APP / ".dockerignore").read_text())
    assert all(map(ignore.leaves_out, [".env", "key.pem", "not_happy", "versions.json"]))


def test_what_it_copies_is_in_its_context(dockerfile):
    ignore = Ignore((APP / ".dockerignore").read_text())
    stages = {one.rest.partition(" AS ")[2] for stage in dockerfile for one in stage[:1]}
    for one in (one for stage in dockerfile for one in stage):
        mounts = [
            dict(part.split("=", 1) for part in option.removeprefix("--mount=").split(","))
            for option in one.options
            if option.startswith("--mount=type=bind")
        ]
        origins = [mount.get("from", "") for mount in mounts]
        origins += [o.removeprefix("--from=") for o in one.options if o.startswith("--from=")]
        assert set(origins) <= stages | {""}
        copied = [mount["source"] for mount in mounts if "from" not in mount]
        if one.name == "COPY" and not any(option.startswith("--from=") for option in one.options):
            copied += one.rest.split()[:-1]
        for source in copied:
            assert (APP / source).exists(), source
            assert source == "." or not ignore.leaves_out(source), source


def test_all_that_the_application_needs_is_in_the_image_and_nothing_else():
    ignore = Ignore((APP / ".dockerignore").read_text())
    prefix = "acceptance/app/"
    inside = [path.removeprefix(prefix) for path in tracked(prefix)]
    left_out = {path for path in inside if ignore.leaves_out(path)}
    assert left_out == {".dockerignore", "Dockerfile", "README.md"}


def test_the_tree_that_is_given_to_the_build_is_what_the_wheel_is_made_of():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    named = [*wheel["packages"], *wheel["force-include"]]
    named += ["pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]]
    needed = set(tracked(*named))
    ignore = Ignore((ROOT / ".dockerignore").read_text())
    given = {path for path in tracked() if not ignore.leaves_out(path)}
    assert needed - given == set()
    # READMEs beside the packages, and no tests, no history, no cache.
    assert {path for path in given - needed if not path.endswith(".md")} == set()
    for path in (".git/HEAD", ".venv/bin/python", ".cache/synced", "acceptance/.env", "uv.lock"):
        assert ignore.leaves_out(path), path
    assert ignore.leaves_out("c2cotel/__pycache__/a.pyc")


# What runs


@pytest.fixture(scope="module")
def image(dockerfile, image_environ, tmp_path_factory):
    """The application's folder as the last steps of the Dockerfile leave it."""
    folder = tmp_path_factory.mktemp("image") / "app"
    ignore = Ignore((APP / ".dockerignore").read_text())
    for path in tracked("acceptance/app"):
        inside = path.removeprefix("acceptance/app/")
        if not ignore.leaves_out(inside):
            (folder / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / inside)
    env = clean(image_environ, GIT_HASH="4f1c2d3", GIT_TAG="1.2.3")
    for one in dockerfile[-1]:
        if one.name == "RUN":
            subprocess.run(["sh", "-euc", one.rest], cwd=folder, env=env, check=True)
    return folder


def clean(image_environ, **more):
    """The variables of the image, and of nobody else."""
    own = {name: value for name, value in image_environ.items() if "${" not in value}
    return own | {"PATH": f"{BESIDE}:{os.defpath}"} | more


def test_its_steps_leave_the_versions_and_compiled_modules(image):
    assert '"git_tag": "1.2.3"' in (image / "versions.json").read_text()
    assert list((image / "c2cotel_app" / "__pycache__").glob("views.*.pyc"))
    assert not (image / "Dockerfile").exists()


# As a container is. $1 is the application, $2 the run directory's options, $3 the capabilities.
CONTAINER = """
mount --make-rprivate /
# All that is there can be read only, but for what the kernel shows, and shared memory.
findmnt --raw --noheadings --output TARGET | while read -r target; do
    case "$target" in /proc* | /sys* | /dev*) ;;
        *) mount -o remount,ro,bind "$target" 2>/dev/null || true ;;
    esac
done
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/app /mnt/run /mnt/tmp
cp -r "$1/." /mnt/app
mount -t tmpfs tmpfs /mnt/tmp
mount -t tmpfs -o "$2" tmpfs /mnt/run
mount -o remount,ro /mnt
cd /mnt/app
capabilities=$3
shift 3
exec setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs \
    --bounding-set="$capabilities" --inh-caps="$capabilities" --ambient-caps="$capabilities" "$@"
"""


def reachable():
    """Whether everybody can read what runs here: a clone in /root, for one, is closed to them."""
    needed = [BESIDE, ROOT / "c2cotel", Path(sys.executable).resolve()]
    return all(path.stat().st_mode & 0o001 for one in needed for path in (one, *one.parents))


@pytest.fixture
def contained(image, services, tmp_path):
    """``contained(command, env)``: run as it would in a container of the service ``app``."""
    done = subprocess.run(
        ["unshare", "--mount", "mount", "--make-rprivate", "/"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"Nothing can be mounted here, run this as root: {done.stderr}")
    [run] = [one for one in services["app"]["tmpfs"] if one.startswith("/run/c2cotel:")]
    options = run.partition(":")[2]
    assert "mode=0700,uid=10001,gid=10001" in options
    # In a folder of root's: nobody may read it, then, but not write.
    capabilities = "-all" if reachable() else "-all,+dac_read_search"

    def run(command, env):
        argv = ["unshare", "--mount", "sh", "-euc", CONTAINER, "sh", image, options, capabilities]
        return Process([*map(str, argv), *command], log=tmp_path / "log", env=env, grace=40)

    return run


def test_nothing_can_be_written_there(contained, image_environ):
    script = (
        "for it in /x /usr/x /mnt/x ./x; do ! touch $it || exit 3; done; touch ../run/x ../tmp/x"
    )
    with contained(["sh", "-c", script], clean(image_environ)) as process:
        assert process.wait(20) == 0, process.output()
    assert process.output().count("touch: ") == 4


@pytest.fixture
def container(contained, services, image_environ, postgres):
    """The service ``app``, with the addresses that it has here."""
    port, metrics = servers.free_port(), servers.free_port()
    given = services["app"]["environment"]
    env = clean(image_environ, **given) | {
        "PORT": str(port),
        "C2C_PROMETHEUS_PORT": str(metrics),
        "C2C_RUN_DIR": "/mnt/run",
        "C2C_HEALTH_CHECK_GRACE": "0.5",
        "TMPDIR": "/mnt/tmp",
        "SQLALCHEMY_URL": postgres.url,
        "SQLALCHEMY_SLAVE_URL": postgres.url,
        # Nobody is there, which it survives.
        "C2C_REDIS_URL": "redis://127.0.0.1:9/0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    with contained(services["app"]["command"], env) as process:
        process.url, process.metrics = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics}"
        process.wait_url(f"{process.url}/c2c/health/ready")
        yield process


def test_it_runs_as_nobody_where_nothing_can_be_written(container, services):
    with Connection(f"{container.url}/api", "https://site.example") as api:
        assert api.get_json("ping", cors=False, cache_expected=CacheExpected.DONT_CARE)
    counted = scraping.scrape(f"{container.metrics}/metrics")
    assert counted.total("http_server_request_duration_seconds_count", http_route="/api/ping") == 1
    for pid in (container.pid, *container.children()):
        status = dict(
            line.split(":\t") for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        assert set(status["Uid"].split()) == {"10001"}
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapEff"], 16) == (0 if reachable() else CAP_DAC_READ_SEARCH)
        root = Path(f"/proc/{pid}/root")
        assert any(path.suffix == ".slab" for path in (root / "mnt/run").iterdir())
    assert container.output().count("Traceback") == 0

    # As docker asks it, every ten seconds.
    test = services["app"]["healthcheck"]["test"][1:]
    asked = [word.replace("http://127.0.0.1:8080", container.url) for word in test]
    env = {"PATH": f"{BESIDE}:{os.defpath}"}
    assert subprocess.run(asked, env=env, timeout=30, check=False).returncode == 0
    missing = [word.replace("health/ready", "none") for word in asked]
    done = subprocess.run(missing, env=env, timeout=30, capture_output=True, check=False)
    assert done.returncode == 1

    container.signal(signal.SIGTERM)
    assert container.wait(30) == 0


def test_its_own_command_runs_too(contained, dockerfile, image_environ, postgres):
    [command] = [one.rest for one in dockerfile[-1] if one.name == "CMD"]
    port = servers.free_port()
    env = clean(image_environ, SQLALCHEMY_URL=postgres.url, TMPDIR="/mnt/tmp") | {
        "GUNICORN_BIND": image_environ["GUNICORN_BIND"].replace("8080", str(port)),
        "C2C_PROMETHEUS_PORT": str(servers.free_port()),
    }
    argv = [word.strip('", ') for word in shlex.split(command.strip("[]"))]
    with contained(argv, env) as process:
        process.wait_url(f"http://127.0.0.1:{port}/api/ping")
        assert requests.get(f"http://127.0.0.1:{port}/api/hello", timeout=10).ok
        process.signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_the_migration_and_the_statistics_run_too(contained, services, image_environ, postgres):
    env = clean(image_environ, SQLALCHEMY_URL=postgres.url, TMPDIR="/mnt/tmp")
    with contained(services["migrate"]["command"], env) as process:
        assert process.wait(60) == 0, process.output()
    command, given = services["statistics"]["command"], services["statistics"]["environment"]
    own = [f"--db={postgres.url}" if word.startswith("--db=") else word for word in command]
    with OtlpReceiver() as receiver:
        env = clean(image_environ, **given) | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "C2C_RUN_DIR": "/mnt/run",
            "TMPDIR": "/mnt/tmp",
        }
        with contained(own, env) as process:
            assert process.wait(60) == 0, process.output()
        assert {point.resource["service.name"] for point in receiver.points} == {"example"}
        assert any(point.kind == "gauge" for point in receiver.points)


def test_the_dockerfile_is_understood(dockerfile):
    """So that the tests above do not pass on an empty list."""
    assert [stage[0].rest for stage in dockerfile] == [
        "scratch AS c2cotel",
        "python:3.13-slim AS packages",
        "python:3.13-slim",
    ]
    names = {one.name for one in instructions(APP / "Dockerfile")}
    assert names == {"FROM", "RUN", "ENV", "COPY", "WORKDIR", "ARG", "EXPOSE", "USER", "CMD"}
    [install] = [one for one in dockerfile[1] if one.options]
    assert len(install.options) == 3
    assert install.rest.startswith("tree=/tmp/c2cotel;")
