"""The committed JSON is what the generator makes, and what Grafana understands."""

import json
import subprocess
import sys

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import build, reading

PAGE = 24
MOST_PANELS = 22


def test_the_committed_file_is_what_its_module_makes(name, text):
    assert text == build.text_of(name), "run `make dashboards`"


def test_every_file_is_of_a_known_dashboard():
    assert {path.stem for path in build.FOLDER.glob("*.json")} == set(build.NAMES)


def test_the_models_of_grafana_take_it_and_give_it_back_unchanged(board):
    register_default_plugins()
    encoded = JSONEncoder().encode(Dashboard.from_json(board))
    assert json.loads(encoded) == board


def test_it_is_found_by_its_address_its_tag_and_the_menu(name, board):
    assert board["uid"] == f"c2cotel-{name}"
    assert len(board["uid"]) <= 40
    assert board["tags"] == ["c2cotel"]
    assert "id" not in board
    (menu,) = board["links"]
    assert (menu["type"], menu["tags"]) == ("dashboards", ["c2cotel"])
    assert menu["keepTime"]
    assert menu["includeVars"]


def test_titles_and_addresses_are_each_of_one_dashboard():
    boards = [json.loads(build.text_of(name)) for name in build.NAMES]
    assert len({board["title"] for board in boards}) == len(boards)
    assert all(board["description"] for board in boards)


def test_it_is_a_classic_dashboard_that_is_imported_and_provisioned(board):
    assert board["schemaVersion"] in {41, 42}
    # An import would ask for them, provisioning would not replace them.
    assert "__inputs" not in board
    assert board["editable"] is False
    assert board["graphTooltip"] == 1
    assert board["refresh"] == "30s"
    assert board["time"] == {"from": "now-3h", "to": "now"}


def test_the_variables_that_all_have_come_first(board):
    listed = [(each["name"], each["type"]) for each in board["templating"]["list"]]
    assert listed[:3] == [("datasource", "datasource"), ("job", "query"), ("instance", "query")]
    source = board["templating"]["list"][0]
    assert (source["label"], source["query"]) == ("Data source", "prometheus")


def test_a_choice_has_several_values_and_all_of_them(board):
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["multi"], variable["name"]
            assert variable["includeAll"], variable["name"]
            assert variable["allValue"] in {".+", ".*"}, variable["name"]
            assert variable["description"], variable["name"]
            assert variable["label"], variable["name"]


def test_every_variable_is_used_and_every_used_one_is_there(board):
    declared = {each["name"] for each in board["templating"]["list"]}
    mine = json.dumps([board["panels"], board["annotations"], board["templating"]])
    used = {each for each in reading.variables(mine) if not each.startswith("__")}
    assert used == declared


def test_panels_are_beside_and_below_each_other(board):
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= PAGE, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"]


def test_no_line_of_panels_is_left_half_empty(board):
    ends: dict[int, int] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        ends[place["y"]] = max(ends.get(place["y"], 0), place["x"] + place["w"])
    assert set(ends.values()) == {PAGE}


def test_there_are_not_too_many_panels_and_each_has_its_number(board):
    numbers = [panel["id"] for panel in board["panels"]]
    numbers += [each["id"] for panel in board["panels"] for each in panel.get("panels", ())]
    assert len(set(numbers)) == len(numbers)
    assert len(list(reading.panels(board))) <= MOST_PANELS


def test_titles_of_panels_are_each_of_one_panel(board):
    titles = [panel["title"] for panel in reading.panels(board)]
    assert len(set(titles)) == len(titles)


def test_links_lead_to_dashboards_that_there_are(board):
    for address in reading.addresses(board):
        if address.startswith("/d/"):
            uid = address.removeprefix("/d/").partition("?")[0]
            assert uid.removeprefix("c2cotel-") in build.NAMES
        else:
            # Nothing leads to traces or logs where there are none.
            assert address.startswith("/explore?")
            assert "_datasource}" in address


def test_check_tells_what_is_old(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    assert build.main(["--check", "requests"]) == 1
    assert "make dashboards" in (said := capsys.readouterr().err)
    assert "requests.json" in said
    assert not list(tmp_path.iterdir())

    assert build.main(["requests"]) == 0
    assert build.main(["--check", "requests"]) == 0
    assert (tmp_path / "requests.json").read_text() == build.text_of("requests")


def test_an_unknown_name_is_refused(capsys):
    with pytest.raises(SystemExit):
        build.main(["request"])
    assert "overview" in capsys.readouterr().err


def test_it_is_a_command():
    command = [sys.executable, "-m", "c2cotel_boards.build", "--check", "requests"]
    done = subprocess.run(
        command, cwd=build.FOLDER / "src", capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_table_asks_for_traces_only_where_tempo_is_set():
    """What stands for the variable is a label, and an empty label is none."""
    board = json.loads(build.text_of("requests"))
    asked = [each.expr for each in reading.targets(board) if "tempo_datasource" in each.expr]
    assert asked
    for expr in asked:
        assert expr.endswith(
            ' and on () (label_replace(vector(1), "is_set", "${tempo_datasource}", "", "")'
            " unless on (is_set) vector(0))"
        )
