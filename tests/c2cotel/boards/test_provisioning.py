"""What is exported for a Grafana that starts is right where it lies."""

import json
from pathlib import Path

import pytest
import yaml

from c2cotel.boards import core
from c2cotel.cli import main

FOUND = core.collection()


def export(folder, *options):
    assert main(["dashboards", "export", str(folder), *options]) == 0

    def read(what):
        # As GF_PATHS_PROVISIONING has it: a folder for each kind.
        return yaml.safe_load((folder / f"provisioning/{what}/c2cotel.yaml").read_text())

    return read


@pytest.mark.parametrize("name", ["new", "a: #b", "$HOME", 'with "quotes"', "ü"])
def test_the_provider_reads_the_folder_that_was_exported_to(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (provider,) = export(Path(name))("dashboards")["providers"]
    path = Path(provider["options"]["path"].replace("$$", "$"))
    assert path == tmp_path / name
    assert {file.stem for file in path.glob("*.json")} == set(FOUND.boards)
    # A single dollar would be a variable of the environment.
    assert "$" not in provider["options"]["path"].replace("$$", "")


def test_without_a_data_source_it_is_the_example(tmp_path):
    read = export(tmp_path / "new")
    example = yaml.safe_load(FOUND.provisioning["provisioning/datasources.yaml"])
    assert read("datasources") == example


@pytest.mark.parametrize(
    ("given", "uid"),
    [("Main", "Main"), ("yes", "yes"), ("Our: main 'one'", "prometheus"), ("p" * 41, "prometheus")],
)
def test_the_data_source_that_dashboards_choose_is_the_one_that_is_provided(tmp_path, given, uid):
    read = export(tmp_path / "new", "--datasource", given)
    sources = {one["type"]: one for one in read("datasources")["datasources"]}
    assert (sources["prometheus"]["name"], sources["prometheus"]["uid"]) == (given, uid)
    to_metrics = sources["tempo"]["jsonData"]["tracesToMetrics"]
    assert to_metrics["datasourceUid"] == uid
    assert to_metrics["queries"] == _example("tempo")["jsonData"]["tracesToMetrics"]["queries"]
    assert {sources["tempo"]["uid"], sources["loki"]["uid"]} == {"tempo", "loki"}
    board = json.loads((tmp_path / "new/overview.json").read_text())
    assert board["templating"]["list"][0]["current"]["value"] == given


def _example(kind):
    sources = yaml.safe_load(FOUND.provisioning["provisioning/datasources.yaml"])["datasources"]
    return next(one for one in sources if one["type"] == kind)


def test_names_of_metrics_are_others_there_too(tmp_path):
    read = export(tmp_path / "new", "--prefix", "shop", "--job-label", "service")
    text = json.dumps(read("datasources"))
    assert "rate(shop_http_server_request_duration_seconds_count{" in text
    assert {"key": "service.name", "value": "service"} in json.loads(text)["datasources"][1][
        "jsonData"
    ]["tracesToMetrics"]["tags"]


def test_the_example_says_how_to_use_it():
    text = FOUND.provisioning["provisioning/dashboards.yaml"]
    assert "GF_PATHS_PROVISIONING=DIR/provisioning" in text
