"""The compose file, and every file that it mounts: each by what can judge it here."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from c2cotel.settings import load, rows

from .conftest import ACCEPTANCE, APP, SECRETS, tool

COMPOSE = ACCEPTANCE / "compose"
DASHBOARDS = ACCEPTANCE.parent / "dashboards"
OURS = re.compile(r"(C2C|C2COTEL|OTEL|GUNICORN|SQLALCHEMY|LOG|GIT)_\w+")
# OpenTelemetry's own, the example's own (gunicorn.conf.py, alembic/env.py), and db.init's.
NOT_OF_C2COTEL = {
    "OTEL_SERVICE_NAME",
    "GUNICORN_BIND",
    "SQLALCHEMY_URL",
    "SQLALCHEMY_SLAVE_URL",
    "GIT_TAG",
}


def seconds(text):
    factors = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * factors[unit] for number, unit in re.findall(r"(\d+)([hms])", text))


def read(name):
    return yaml.safe_load((COMPOSE / name).read_text())


# What compose itself says


@pytest.mark.parametrize("name", SECRETS)
def test_without_a_secret_nothing_starts_and_it_is_said_how_to_make_one(compose, name):
    given = {other: value for other, value in SECRETS.items() if other != name}
    done = compose("config", "--quiet", **given)
    assert done.returncode != 0
    assert f"required variable {name} is missing a value: the head of compose.yaml" in done.stderr
    assert not any(value in done.stderr for value in SECRETS.values())


def test_the_lines_at_its_head_make_all_secrets(tmp_path):
    head = (ACCEPTANCE / "compose.yaml").read_text().partition("docker compose up")[0]
    lines = [line.removeprefix("#     ") for line in head.splitlines() if line[:6] == "#     "]
    subprocess.run(["sh", "-euc", "\n".join(lines[:-1])], cwd=tmp_path, check=True)
    made = dict(line.split("=") for line in (tmp_path / ".env").read_text().splitlines())
    assert made.keys() == SECRETS.keys()
    assert all(re.fullmatch("[0-9a-f]{32}", value) for value in made.values())
    assert len(set(made.values())) == len(made)


def test_there_are_two_applications_and_each_other_service_once(services):
    assert services["app"]["deploy"]["replicas"] == 2
    others = {name for name in services if services[name].get("deploy", {}).get("replicas", 1) != 1}
    assert others == {"app"}


def test_nobody_is_root_or_writes_where_it_was_not_told_to(services, dockerfile):
    ours = {name for name, service in services.items() if "build" in service}
    assert ours == {"app", "migrate", "statistics"}
    [user] = [one.rest for one in dockerfile[-1] if one.name == "USER"]
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        runs_as = user if name in ours else service["user"]
        assert runs_as.partition(":")[0] not in ("", "0", "root"), name
        assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys(), name


def test_images_are_of_one_version(services):
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert tag[0].isdigit() or tag[0] == "v" or "build" in service, name


def test_ports_are_for_this_machine_only(services):
    published = {
        name: [(port["host_ip"], port["published"], port["target"]) for port in service["ports"]]
        for name, service in services.items()
        if "ports" in service
    }
    assert published == {
        "proxy": [("127.0.0.1", "8080", 8080)],
        "prometheus": [("127.0.0.1", "9090", 9090)],
        "grafana": [("127.0.0.1", "3000", 3000)],
    }


def test_secrets_are_given_to_whoever_needs_them_only(services):
    holders = {
        secret: {name for name, service in services.items() if value in json.dumps(service)}
        for secret, value in SECRETS.items()
    }
    assert holders == {
        "C2C_SECRET": {"app"},
        "DB_PASSWORD": {"app", "migrate", "statistics", "primary"},
        "POSTGRES_PASSWORD": {"primary"},
        "REPLICATION_PASSWORD": {"primary", "replica"},
    }
    # As variables: an argument is in the list of processes.
    for service in services.values():
        rest = {key: value for key, value in service.items() if key != "environment"}
        assert "hush-" not in json.dumps(rest)


def test_what_waits_for_health_waits_for_somebody_who_is_asked(services):
    waits = [
        (name, other, how["condition"])
        for name, service in services.items()
        for other, how in service.get("depends_on", {}).items()
    ]
    for name, other, condition in waits:
        if condition == "service_healthy":
            assert services[other]["healthcheck"]["test"][0] == "CMD", (name, other)
        if condition == "service_completed_successfully":
            assert services[other]["restart"] in ("no", "on-failure"), (name, other)
    assert ("app", "migrate", "service_completed_successfully") in waits
    assert ("replica", "primary", "service_healthy") in waits
    assert ("proxy", "app", "service_healthy") in waits


def test_each_mounted_file_is_there_and_cannot_be_written(services):
    mounted = {
        Path(volume["source"])
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "bind"
    }
    assert all(path.is_file() for path in mounted)
    assert {path for path in mounted if path.parent == COMPOSE} == set(COMPOSE.iterdir())
    for service in services.values():
        for volume in service.get("volumes", []):
            assert volume["type"] == "volume" or volume["read_only"] is True


def test_each_volume_has_one_user(composition, services):
    used = [
        volume["source"]
        for service in services.values()
        for volume in service.get("volumes", [])
        if volume["type"] == "volume"
    ]
    assert sorted(used) == sorted(composition["volumes"])


def test_each_variable_of_ours_is_a_setting(services, image_environ):
    known = {name for row in rows(load({}, {})) for name in row.environment}
    assert {"C2C_SECRET", "GUNICORN_WORKERS", "OTEL_METRICS_EXPORTER"} <= known
    ours = {name for name, service in services.items() if "build" in service}
    named = set(image_environ).union(*(services[name]["environment"] for name in ours))
    assert {name for name in named if OURS.fullmatch(name)} <= known | NOT_OF_C2COTEL
    values = image_environ | services["app"]["environment"]
    assert load(values, {}).problems == ()
    assert load(image_environ | services["statistics"]["environment"], {}).problems == ()


# That the files agree with each other


def test_an_application_that_ends_has_the_time_it_takes(services, image_environ):
    values = {
        name: row.value
        for row in rows(load(image_environ | services["app"]["environment"], {}))
        for name in row.environment
    }
    # It is read, not imported: that would set up telemetry here.
    gunicorn = (ACCEPTANCE.parent / "c2cotel" / "gunicorn.py").read_text()
    [graceful] = re.findall(r"^graceful_timeout = (\d+)$", gunicorn, re.MULTILINE)
    ends = ("C2C_HEALTH_CHECK_GRACE", "C2C_EXIT_TIMEOUT")
    needed = int(graceful) + sum(float(values[name]) for name in ends)
    assert seconds(services["app"]["stop_grace_period"]) > needed
    # Its last spans are taken, and it is not the proxy that breaks off what it still answers.
    for other in ("collector", "proxy"):
        assert seconds(services[other]["stop_grace_period"]) > needed


def test_the_collector_uses_what_it_has_and_speaks_to_who_is_there(services):
    config = read("collector.yaml")
    pipelines = config["service"]["pipelines"]
    assert set(pipelines) == {"traces", "logs", "metrics"}
    for kind in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines.values() for name in pipeline[kind]}
        assert used == set(config[kind]), kind
    assert all(one["processors"][0] == "memory_limiter" for one in pipelines.values())
    urls = [
        one["endpoint"] for name, one in config["exporters"].items() if name.startswith("otlphttp")
    ]
    assert {urlsplit(url).hostname for url in urls} == {"tempo", "loki"} <= services.keys()
    tempo = read("tempo.yaml")["distributor"]["receivers"]["otlp"]["protocols"]["http"]
    assert urlsplit(config["exporters"]["otlphttp/tempo"]["endpoint"]).port == port(tempo)
    sent_to = urlsplit(services["app"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"])
    assert sent_to.hostname == "collector"
    assert sent_to.port == port(config["receivers"]["otlp"]["protocols"]["http"])


def port(endpoint):
    return int(endpoint["endpoint"].rpartition(":")[2])


def test_prometheus_takes_from_who_is_there(services, image_environ):
    config = read("prometheus.yml")
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    [application] = jobs["example"]["dns_sd_configs"]
    assert application["names"] == ["app"]
    assert str(application["port"]) == image_environ["C2C_PROMETHEUS_PORT"]
    assert services["app"]["environment"]["OTEL_SERVICE_NAME"] in jobs
    [target] = jobs["collector"]["static_configs"][0]["targets"]
    assert target == f"collector:{port(read('collector.yaml')['exporters']['prometheus'])}"


def test_promtool_accepts_the_configuration_with_the_rules(services, tmp_path):
    folder = "/etc/prometheus/"
    for volume in services["prometheus"]["volumes"]:
        if volume["target"].startswith(folder):
            copy = tmp_path / volume["target"].removeprefix(folder)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(volume["source"], copy)
    done = subprocess.run(
        [tool("promtool"), "check", "config", "--lint=all", "--lint-fatal", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 rule files found" in done.stdout
    assert len(re.findall(r"SUCCESS: \d\d+ rules found", done.stdout)) == 2


def test_grafana_has_every_dashboard_and_the_data_for_it(services):
    mounts = {one["target"]: Path(one["source"]) for one in services["grafana"]["volumes"][1:]}
    provisioning = "/etc/grafana/provisioning"
    provided = yaml.safe_load(mounts[f"{provisioning}/dashboards/c2cotel.yaml"].read_text())
    [provider] = provided["providers"]
    boards = {
        target: path
        for target, path in mounts.items()
        if target.startswith(provider["options"]["path"] + "/")
    }
    assert set(boards.values()) == set(DASHBOARDS.glob("*.json"))
    assert all(target.endswith(f"/{path.name}") for target, path in boards.items())
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home in boards

    sources = yaml.safe_load(mounts[f"{provisioning}/datasources/c2cotel.yaml"].read_text())
    urls = [urlsplit(source["url"]) for source in sources["datasources"]]
    assert [(url.hostname, url.port) for url in urls] == [
        ("prometheus", 9090),
        ("tempo", read("tempo.yaml")["server"]["http_listen_port"]),
        ("loki", 3100),  # of the configuration that its image has
    ]
    interval = read("prometheus.yml")["global"]["scrape_interval"]
    assert sources["datasources"][0]["jsonData"]["timeInterval"] == interval


def test_databases_are_asked_for_by_the_names_and_roles_that_they_have(services):
    for name in ("app", "migrate", "statistics"):
        told = json.dumps([services[name]["environment"], services[name]["command"]])
        urls = re.findall(r"postgresql\+psycopg://[^\"]*", told)
        assert urls, name
        for url in map(urlsplit, urls):
            assert (url.username, url.password, url.path) == ("app", None, "/app")
            assert url.hostname in ("primary", "replica")
    assert "host    all          app " in (COMPOSE / "pg_hba.conf").read_text()


def test_the_application_runs_what_is_in_its_image(services):
    command = services["app"]["command"]
    assert (APP / command[command.index("--paste") + 1]).is_file()
    assert (APP / "alembic.ini").is_file()
    assert services["migrate"]["command"] == ["alembic", "upgrade", "head"]


def test_haproxy_accepts_its_configuration_and_asks_who_is_there(services):
    config = COMPOSE / "haproxy.cfg"
    done = subprocess.run(
        [tool("haproxy"), "-c", "-f", config], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = config.read_text()
    [(slots, name, port)] = re.findall(r"server-template \S+ (\d+) (\w+):(\d+)", text)
    assert (name, port) == ("app", str(services["proxy"]["ports"][0]["target"]))
    assert int(slots) >= services["app"]["deploy"]["replicas"]
    [path] = re.findall(r"httpchk GET (\S+)", text)
    assert path in services["app"]["healthcheck"]["test"][-1]
    # It knows of an end before the application closes its port.
    [(interval, fall)] = re.findall(r"check inter (\d+)s fall (\d+)", text)
    grace = next(row.value for row in rows(load({}, {})) if row.name == "health_check.grace")
    assert int(interval) * int(fall) < float(grace)
