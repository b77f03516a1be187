"""``c2cotel dashboards``: what is printed where, and how it ends."""

import json
import re
import subprocess
import sys

import pytest

from c2cotel.boards import core
from c2cotel.cli import main

FOUND = core.collection()
NAMES = list(FOUND.boards)


@pytest.fixture
def run(capsys):
    """``run("list")``: the status, stdout and stderr."""

    def run(*arguments):
        try:
            status = main(["dashboards", *map(str, arguments)])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture(autouse=True)
def _no_token(monkeypatch):
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_help_has_examples(run):
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    assert "c2cotel dashboards push --url https://grafana.example.org" in out
    for action in ("list", "export", "push"):
        assert run(action, "--help")[0] == 0


@pytest.mark.parametrize("arguments", [(), ("import",), ("export",), ("push",), ("list", "x")])
def test_wrong_usage_ends_with_2(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("c2cotel dashboards")
    assert err.count("\n") == 1


def test_what_is_not_installed_as_it_should_be_ends_with_1(run, monkeypatch, tmp_path):
    monkeypatch.setattr(core, "__file__", str(tmp_path / "c2cotel/boards/core.py"))
    told = f"There are no dashboards in {tmp_path}/c2cotel: install c2cotel again."
    assert run("list") == (1, "", f"c2cotel dashboards: {told}\n")


def test_what_is_missing_is_named(run):
    assert run("export", "--force")[2].startswith(
        "c2cotel dashboards export: the following arguments are required: DIR (see "
    )
    assert "the following arguments are required: --url" in run("push")[2]


# list


def test_list_tells_dashboards_rules_and_thresholds(run):
    status, out, err = run("list")
    assert (status, err) == (0, "")
    first = [line.split()[0] for line in out.splitlines() if line]
    assert first == [*NAMES, "rules", "provisioning", "Thresholds", *FOUND.thresholds]


def test_list_for_programs(run):
    status, out, _ = run("list", "--json")
    told = json.loads(out)
    assert (status, list(told)) == (0, ["dashboards", "alerts", "thresholds"])
    assert [one["uid"] for one in told["dashboards"]] == [f"c2cotel-{name}" for name in NAMES]
    assert list(told["dashboards"][0]) == ["name", "title", "uid", "description"]
    assert {"name": "latency", "default": "1", "alerts": ["C2cotelLatency"]} in told["thresholds"]


# export


def test_export_writes_everything_as_it_is(run, tmp_path):
    status, out, err = run("export", tmp_path / "new")
    assert (status, err) == (0, "")
    written = files(tmp_path / "new")
    assert sorted(out.splitlines()) == [str(tmp_path / "new" / path) for path in written]
    found = core.collection()
    texts = {f"{name}.json": board.text for name, board in found.boards.items()}
    texts |= found.rules
    assert {path: (tmp_path / "new" / path).read_text() for path in texts} == texts
    examples = {f"provisioning/{what}/c2cotel.yaml" for what in ("dashboards", "datasources")}
    assert set(written) - set(texts) == examples


def test_names_may_stand_anywhere(run, tmp_path):
    first, second = NAMES[:2]
    assert run("export", "--force", tmp_path, second, "--prefix", "shop", first)[0] == 0
    assert files(tmp_path) == sorted([f"{first}.json", f"{second}.json"])


def test_export_with_all_options(run, tmp_path):
    status, _, err = run(
        *("export", tmp_path, "--datasource", "Main", "--prefix", "shop.eu", "--job-label", "app"),
        *("--threshold", "latency=2", "--threshold", "down_for=1h30m"),
        *("--dashboard-url", "https://g.example/", "--runbook-url", "https://wiki.example"),
    )
    assert (status, err) == (0, "The tests of the rules are left out: they are for the defaults.\n")
    assert [path for path in files(tmp_path) if "tests" in path] == []
    alerts = (tmp_path / "rules/c2cotel-alerts.yaml").read_text()
    assert "> 2 # threshold: latency\n" in alerts
    assert "for: 1h30m # threshold: down_for\n" in alerts
    assert "shop_eu_c2c_db_fallbacks_total" in alerts
    assert '"https://g.example/d/c2cotel-' in alerts
    assert '"https://wiki.example/C2cotelLatency.md"' in alerts
    made = json.loads((tmp_path / "requests.json").read_text())
    chosen, job = made["templating"]["list"][:2]
    assert chosen["current"] == {"selected": True, "text": "Main", "value": "Main"}
    assert job["definition"] == "label_values(shop_eu_c2c_metrics_processes, app)"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["overveiw"], "'overveiw' is not one of the dashboards. Is overview meant?"),
        (["Rule"], "'Rule' is not one of the dashboards. Is rules meant?"),
        (["zzz"], "'zzz' is not one of the dashboards. There are: "),
        (["--prefix", "9x"], "--prefix '9x': not the beginning of a metric's name. Write what"),
        (["--prefix", "a-b"], "--prefix 'a-b': not the beginning"),
        (["--prefix", "a\n"], "--prefix 'a\\n': not the beginning"),
        (["--job-label", "a-b"], "--job-label 'a-b': not the name of a label"),
        (["--job-label", "é"], "--job-label 'é': not the name of a label"),
        (["--job-label", "inf"], "--job-label 'inf': not the name of a label"),
        (["--job-label", "Without"], "--job-label 'Without': not the name of a label"),
        (["--job-label", "null"], "--job-label 'null': not the name of a label"),
        (["--job-label", ""], "--job-label '': not the name of a label"),
        (["--job-label", "instance"], "--job-label instance: this label says something else"),
        (["--job-label", "severity"], "--job-label severity: this label says something else"),
        (["--job-label", "alertname"], "--job-label alertname: this label says something else"),
        (["--job-label", "http_route"], "--job-label http_route: this label says something else"),
        (["--datasource", "a\nb"], "--datasource 'a\\nb': write a data source's name or uid"),
        (["--threshold", "latency"], "--threshold 'latency': write name=value, for example"),
        (["--threshold", "latenzy=1"], "there is no threshold 'latenzy'. Is latency meant?"),
        (["--threshold", "q=1"], "there is no threshold 'q'. There are: alembic_for, "),
        (["--threshold", "latency=5m"], "not a number from 0 on, such as 3 or 0.005. By default"),
        (
            ["--threshold", "latency=\u0661"],
            "not a number from 0 on, such as 3 or 0.005. By default",
        ),
        (["--threshold", "down_for=\u0665m"], "not a duration, such as 90s, 5m or 1h30m. By"),
        (["--threshold", "down_for=300y"], "longer than 1y, it fires never. By default it is"),
        (["--threshold", "down_for=365d1ms"], "longer than 1y, it fires never. By default it is"),
        (["--threshold", "down_for=5"], "not a duration, such as 90s, 5m or 1h30m. By default"),
        (["--threshold", "latency=2", "--threshold", "latency=3"], "latency is given twice"),
        (["--threshold", "latency=10"], "it has to be above 0, below 10, or else it fires always"),
        (["--threshold", "error_budget=0.07"], "it has to be above 0, below 0.0694, or else 14.4"),
        (["--threshold", "error_budget=0"], "it has to be above 0, below 0.0694, or else 14.4"),
        (["--threshold", "worker_exits=0"], "it has to be at least 1, or else it would fire when"),
        (["--threshold", "fallback_for=600s"], "it has to be above 10m, or else one restart of"),
        (["--threshold", "dropped_for=5m"], "it has to be above 10m, or else one burst is enough"),
        (["--dashboard-url", "grafana"], "--dashboard-url 'grafana': not an http or https URL"),
        (["--dashboard-url", "https://g/?orgId=1"], "not an http or https URL to which a path"),
        (["--runbook-url", 'https://w/"'], "not an http or https URL to which a path"),
        (["overview", "--threshold", "latency=2"], "--threshold is for the rules, which are not"),
        (["overview", "--runbook-url", "https://w"], "--runbook-url is for the rules, which are"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_writes_nothing(run, tmp_path, arguments, told):
    status, out, err = run("export", tmp_path / "new", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("c2cotel dashboards: ")
    assert told in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_folder_without_a_name_is_none(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run("export", "", "--force")
    assert (status, out) == (2, "")
    assert "DIR: it is empty; write . for the folder that you are in" in err
    assert files(tmp_path) == []


def test_tests_of_an_earlier_export_are_named_where_they_do_not_fit_any_more(run, tmp_path):
    run("export", tmp_path, "rules")
    status, _, err = run("export", tmp_path, "rules", "--force", "--threshold", "latency=2")
    told = f"Delete {tmp_path}/rules/tests: they are of an earlier export, and fail now."
    assert (status, err.splitlines()[1]) == (0, told)


def test_files_that_are_there_end_it_with_1(run, tmp_path):
    name = NAMES[0]
    (tmp_path / f"{name}.json").write_text("mine")
    status, out, err = run("export", tmp_path)
    assert (status, out) == (1, "")
    assert err == (
        f"c2cotel dashboards: {tmp_path} has {name}.json already. "
        "Take another folder, or --force to replace.\n"
    )
    assert files(tmp_path) == [f"{name}.json"]
    assert run("export", tmp_path, "--force")[0] == 0
    assert (tmp_path / f"{name}.json").read_text() == FOUND.boards[name].text


def test_a_file_in_place_of_the_folder_ends_it_with_1(run, tmp_path):
    (tmp_path / "file").write_text("mine")
    told = f"c2cotel dashboards: {tmp_path}/file is a file: a folder should be there.\n"
    assert run("export", tmp_path / "file") == (1, "", told)


def test_export_starts_without_what_only_push_needs():
    code = (
        "import sys; from c2cotel.cli import main; main(['dashboards', 'list']);"
        "print([n for n in ('opentelemetry', 'pyramid', 'requests') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"


# push


@pytest.fixture
def url(server, httpserver):  # noqa: ARG001 - it answers at that address
    return httpserver.url_for("/").rstrip("/")


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("glsa_secret\n")
    return file


def test_push_pushes_all(run, server, url, token_file):
    status, out, err = run("push", "--url", url, "--token-file", token_file, "--folder", "Ours")
    assert (status, err) == (0, "")
    assert out.splitlines() == [f"{n}: new  {url}/d/c2cotel-{n}/slug" for n in NAMES]
    assert list(server.folders.values()) == ["Ours"]


def test_push_takes_names_and_changes(run, server, url, monkeypatch):
    monkeypatch.setenv("GRAFANA_TOKEN", "glsa_secret")
    status, *_ = run("push", "requests", "--url", url, "--prefix", "shop", "--datasource", "Main")
    assert (status, list(server.dashboards)) == (0, ["c2cotel-requests"])
    sent = json.dumps(server.dashboards["c2cotel-requests"])
    assert "shop_http_server_request_duration_seconds_count" in sent
    assert '"value": "Main"' in sent


def test_a_dry_run_changes_nothing(run, server, url, token_file):
    status, out, err = run("push", "--dry-run", "--url", url, "--token-file", token_file)
    assert (status, err) == (0, "")
    assert out.splitlines() == [f"{name}: would be new, at the top" for name in NAMES]
    assert server.dashboards == {}


def test_a_token_on_the_command_line_is_warned_of(run, url):
    status, _, err = run("push", "requests", "--url", url, "--token", "glsa_secret")
    assert (status, err) == (
        0,
        "warning: --token can be seen in the list of processes; better is --token-file.\n",
    )


def test_what_fails_ends_it_with_1_and_the_token_is_not_told(run, url, monkeypatch):
    monkeypatch.setenv("GRAFANA_TOKEN", "glsa_hidden")
    status, out, err = run("push", "--url", url)
    assert (status, out) == (1, "")
    assert re.fullmatch(rf"c2cotel dashboards: \S+: {url} answers 401: Invalid API key\. .*\n", err)
    assert "hidden" not in err


def test_one_that_fails_ends_it_with_1_after_the_others(run, server, url, token_file):
    def refuse(_):
        from werkzeug import Response

        return Response('{"message": "Cannot save provisioned dashboard"}', 400)

    server.instead.append(("POST /api/dashboards/db", refuse))
    status, out, err = run("push", "--url", url, "--token-file", token_file)
    assert (status, len(out.splitlines())) == (1, len(NAMES) - 1)
    assert err == f"{NAMES[0]}: {url} answers 400: Cannot save provisioned dashboard\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--token", ""], "There is no token in --token. Give the token of a service account"),
        ([], "There is no token in GRAFANA_TOKEN. Give the token of a service account"),
        (["--token", "a\nb"], "What is in --token is not a token: a blank or another sign"),
        (["--token-file", "/no/such"], "/no/such cannot be read: No such file or directory."),
        (["--token-file", "/"], "/ cannot be read: Is a directory."),
        (["--token", "x", "--folder", " "], "--folder: write the title of a folder, or leave it"),
        (["--token", "x", "rules"], "rules cannot be pushed, only dashboards can: it is read"),
        (["--token", "x", "--prefix", "-"], "--prefix '-': not the beginning of a metric's name"),
        (["--token", "x", "--url", "ftp://g.example"], "--url is not the address of a"),
        (
            ["--token", "x", "--url", "https://u:hunter2@g"],
            "--url is not the address of a",
        ),
        (
            ["--token", "x", "--url", "https://g?a=hunter2"],
            "--url is not the address of a",
        ),
    ],
)
def test_what_cannot_be_pushed_is_told_before_anything_is_sent(run, server, url, arguments, told):
    status, out, err = run("push", "--url", url, *arguments)
    assert (status, out, server.asked) == (2, "", [])
    assert f"c2cotel dashboards: {told}" in err
    assert "hunter2" not in err


def test_two_ways_to_give_the_token_are_one_too_many(run, url, token_file):
    status, _, err = run("push", "--url", url, "--token", "x", "--token-file", token_file)
    assert (status, "not allowed with argument" in err) == (2, True)
