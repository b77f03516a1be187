"""The composition's PostgreSQL and its replica, made by its files with the real programs.

What the image's own entrypoint does around them is done here: make the data, run the ``.sql`` files
as superuser, start the server with the arguments of the service.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from c2cotel_acceptance.processes import MissingError, Process
from c2cotel_acceptance.servers import free_port
from c2cotel_acceptance.servers.postgresql import installation
from c2cotel_acceptance.utils import retry_timeout

from .conftest import SECRETS

ENTRYPOINT = '#!/bin/sh\nexec "$@"\n'


class Place:
    """Both services' files and data, and their programs as their user runs them."""

    def __init__(self, services, installed):
        self.services = services
        self.folder = installed.folder
        self.user = installed.user
        self.programs = installed.programs
        self.port = {"primary": free_port(), "replica": free_port()}
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "docker-entrypoint.sh").write_text(ENTRYPOINT)
        (programs / "docker-entrypoint.sh").chmod(0o755)
        self.path = f"{programs}:{self.programs}:{os.defpath}"
        for volume in services["primary"]["volumes"] + services["replica"]["volumes"]:
            if volume["type"] == "bind":
                shutil.copy(volume["source"], self.folder)

    def data(self, name):
        return self.folder / name / "18" / "docker"

    def arguments(self, name):
        """The command of a service, where it is here."""
        command = self.services[name]["command"]
        given = [word.replace("/etc/postgresql", str(self.folder)) for word in command]
        listen = [f"--port={self.port[name]}", "--listen_addresses=127.0.0.1"]
        memory = ["--dynamic_shared_memory_type=mmap", "--fsync=off"]
        return [*given, *listen, f"--unix_socket_directories={self.folder}", *memory]

    def environ(self, name):
        """As in the container, but that ``primary`` is on this machine."""
        elsewhere = {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(self.port["primary"])}
        return {
            **self.services[name]["environment"],
            "PATH": self.path,
            "PGDATA": str(self.data(name)),
            "LC_ALL": "C",
            **(elsewhere if name == "replica" else {}),
        }

    def start(self, name, *argv):
        return Process(
            argv or [f"{self.programs}/postgres", *self.arguments(name)[1:]],
            log=self.folder / f"{name}.log",
            env=self.environ(name),
            cwd=self.folder,
            user=self.user,
            stop_signal=2,
        )

    def start_replica(self):
        entrypoint = self.services["replica"]["entrypoint"]
        assert entrypoint == ["sh", "/replica.sh"]
        return self.start(
            "replica", "sh", str(self.folder / "replica.sh"), *self.arguments("replica")
        )

    def run(self, *argv, **env):
        return subprocess.run(
            argv,
            env=self.environ("primary") | env,
            cwd=self.folder,
            user=self.user,
            capture_output=True,
            text=True,
            check=True,
        )

    def connect(self, name, user="app", password=SECRETS["DB_PASSWORD"], database="app"):
        return contextlib.closing(
            psycopg.connect(
                host="127.0.0.1",
                port=self.port[name],
                user=user,
                password=password,
                dbname=database,
                autocommit=True,
            )
        )

    def wait(self, name, process):
        def answers():
            if process.returncode is not None:
                raise RuntimeError(process.tail())
            with self.connect(name) as connection:
                return connection.execute("SELECT 1").fetchone()

        retry_timeout(answers, 60, 0.1)


@pytest.fixture(scope="module")
def place(composition):
    with contextlib.ExitStack() as stack:
        try:
            installed = stack.enter_context(installation())
        except MissingError as error:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(str(error))
        place = Place(composition["services"], installed)
        (place.folder / "password").write_text(SECRETS["POSTGRES_PASSWORD"])
        for name in ("primary", "replica"):
            place.data(name).parent.mkdir(parents=True)
            if place.user:
                shutil.chown(place.data(name).parent, place.user)
        place.run(
            "initdb",
            "--username=postgres",
            f"--pwfile={place.folder / 'password'}",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        primary = stack.enter_context(place.start("primary"))
        psql = ["psql", "-v", "ON_ERROR_STOP=1", "--username=postgres", "--no-password"]
        psql += ["--no-psqlrc", f"--host={place.folder}", f"--port={place.port['primary']}"]
        retry_timeout(
            lambda: (
                place.run(*psql, "-c", "SELECT 1", PGPASSWORD=SECRETS["POSTGRES_PASSWORD"]).stdout
            ),
            60,
            0.1,
        )
        place.run(*psql, "-f", "primary.sql", PGPASSWORD=SECRETS["POSTGRES_PASSWORD"])
        place.wait("primary", primary)
        yield place


@pytest.fixture(scope="module")
def replica(place):
    # What a copy that was interrupted has left.
    copy = Path(f"{place.data('replica')}.copy")
    copy.mkdir()
    (copy / "PG_VERSION").touch()
    if place.user:
        shutil.chown(copy, place.user)
        shutil.chown(copy / "PG_VERSION", place.user)
    with place.start_replica() as process:
        place.wait("replica", process)
        yield process


def scalar(connection, statement):
    return connection.execute(statement).fetchone()[0]


@pytest.mark.usefixtures("replica")
def test_what_is_written_to_the_primary_is_read_from_the_replica(place):
    with place.connect("primary") as primary, place.connect("replica") as standby:
        primary.execute("CREATE TABLE said (text text)")
        primary.execute("INSERT INTO said VALUES ('hello')")
        position = scalar(primary, "SELECT pg_current_wal_lsn()::text")
        behind = f"SELECT pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '{position}') >= 0"
        retry_timeout(lambda: scalar(standby, behind), 30, 0.05)
        assert scalar(standby, "SELECT text FROM said") == "hello"
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            standby.execute("INSERT INTO said VALUES ('no')")
        slots = (
            "SELECT array_agg(slot_name::text ORDER BY 1) FROM pg_replication_slots WHERE active"
        )
        assert scalar(primary, slots) == ["replica"]


def test_a_replica_that_starts_again_goes_on_with_what_it_has(place, replica):
    made = (place.data("replica") / "PG_VERSION").stat().st_ino
    replica.stop()
    with place.connect("primary") as primary:
        primary.execute("CREATE TABLE IF NOT EXISTS meanwhile ()")
    with place.start_replica() as again:
        place.wait("replica", again)
        with place.connect("replica") as standby:
            there = "SELECT to_regclass('meanwhile') IS NOT NULL"
            retry_timeout(lambda: scalar(standby, there), 30, 0.05)
    assert (place.data("replica") / "PG_VERSION").stat().st_ino == made


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("app", "wrong"),
        ("postgres", SECRETS["POSTGRES_PASSWORD"]),
        ("replicator", SECRETS["REPLICATION_PASSWORD"]),
    ],
)
def test_nobody_else_is_let_in(place, user, password):
    with pytest.raises(
        psycopg.OperationalError, match=r"no pg_hba\.conf entry|authentication fail"
    ):
        place.connect("primary", user, password)


def test_the_application_owns_its_database_and_is_no_superuser(place):
    with place.connect("primary") as connection:
        assert scalar(connection, "SELECT current_setting('is_superuser')") == "off"
        owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'"
        assert scalar(connection, owner) == "app"


def test_the_sql_profiler_may_look_at_real_plans(place):
    with place.connect("primary") as connection:
        notices = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for name, value in {"level": "notice", "min_duration": "0", "analyze": "on"}.items():
            connection.execute(f"SET auto_explain.log_{name} = {value}")
        connection.execute("SELECT 1")
    assert any("Query Text: SELECT 1" in text for text in notices)


def test_log_lines_say_which_request_they_are_of(place):
    with place.connect("primary") as connection:
        connection.execute("SET application_name = 'the-request'")
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
    log = (place.folder / "primary.log").read_text()
    assert '] the-request ERROR:  relation "nowhere" does not exist' in log
    assert not any(secret in log for secret in SECRETS.values())
