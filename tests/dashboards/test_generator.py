"""The committed JSON is what the generator makes, and what Grafana understands."""

import json
import re
import subprocess
import sys
from urllib.parse import parse_qs, urlsplit

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from c2cotel_boards import build, reading

PAGE = 24
SIGNS = {"statistics_job": "$statistics_job", "statistics_instance": "$statistics_instance"}
SIGNS_OF_LABELS = {"job": "$statistics_job", "instance": "$statistics_instance"}
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
    # What is counted once a day has to be seen, too.
    daily = board["uid"] == "c2cotel-database-statistics"
    assert board["refresh"] == ("5m" if daily else "30s")
    assert board["time"] == {"from": "now-7d" if daily else "now-3h", "to": "now"}


def test_the_variables_that_all_have_come_first(name, board):
    listed = [(each["name"], each["type"]) for each in board["templating"]["list"]]
    own = "statistics_" if name == "database-statistics" else ""
    expected = [("datasource", "datasource"), (f"{own}job", "query"), (f"{own}instance", "query")]
    assert listed[:3] == expected
    source = board["templating"]["list"][0]
    assert (source["label"], source["query"]) == ("Data source", "prometheus")


def test_a_choice_has_several_values_and_all_of_them(board):
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            assert variable["multi"], variable["name"]
            assert variable["includeAll"], variable["name"]
            # Traces and logs are of the chosen services only: there All is a list of them.
            everything = {None} if variable["name"] == "service" else {".+", ".*"}
            assert variable.get("allValue") in everything, variable["name"]
            assert variable.get("hide", 0) == (2 if variable["name"] == "service" else 0)
            assert variable["description"], variable["name"]
            assert variable["label"], variable["name"]


def test_the_menu_brings_nothing_along_that_is_another_elsewhere():
    """The command of the statistics has a job of its own: a service's would find nothing there."""
    names = {
        name: {
            each["name"]
            for each in json.loads(build.text_of(name))["templating"]["list"]
            if each["type"] == "query"
        }
        for name in build.NAMES
    }
    statistics = names.pop("database-statistics")
    assert statistics & set().union(*names.values()) == set()


def test_every_part_of_the_statistics_is_of_the_chosen_ones():
    board = json.loads(build.text_of("database-statistics"))
    for asked in reading.targets(board):
        for selector in reading.selectors(asked.expr, {"__range": "1h", **SIGNS}):
            found = {each.name: each.value for each in selector.matchers.matchers}
            assert found | SIGNS_OF_LABELS == found, asked.where


def test_databases_of_one_name_on_two_servers_are_two():
    board = json.loads(build.text_of("database-statistics"))
    for asked in reading.targets(board):
        for by in re.findall(r"max by \(([^)]*)\)", asked.expr):
            assert by.startswith("instance, db_namespace"), asked.where


def test_a_line_of_an_instance_says_of_which_job(board):
    for panel in reading.panels(board):
        for target in panel["targets"]:
            legend = target.get("legendFormat", "")
            if "{{instance}}" in legend:
                assert "{{job}}" in legend or "{{db_namespace}}" in legend, panel["title"]


def test_an_engine_without_a_name_has_one_in_legends(board):
    for panel in reading.panels(board):
        for target in panel["targets"]:
            if "{{c2c_engine}}" in target.get("legendFormat", ""):
                assert '"c2c_engine", "(no name)"' in target["expr"], panel["title"]


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


def explored(board):
    """The panes that links of tables open in Explore, with the variables in them."""
    for address in reading.addresses(board):
        if address.startswith("/explore?"):
            # In a variable's place there are no quotes when it is JSON.
            plain = re.sub(r'\$\{__data\.fields\["(\w+)"\]:percentencode\}', r"<\1>", address)
            (panes,) = parse_qs(urlsplit(plain).query, strict_parsing=True)["panes"]
            yield json.loads(panes)["c2c"]


def test_traces_are_of_the_chosen_services_and_some_of_what_failed_or_was_slow(name, board):
    if name not in {"requests", "database", "outgoing"}:
        assert not list(explored(board))
        return
    panes = [each for each in explored(board) if "tempo" in each["datasource"]]
    queries = [each["queries"][0]["query"] for each in panes]
    own = '{ resource.service.name =~ "${service:pipe}" && kind = '
    assert all(query.startswith(own) for query in queries)
    assert sum("status = error" in query for query in queries) == 1
    assert sum(" && duration > 1" in query for query in queries) == 1
    assert {each["datasource"] for each in panes} == {"${tempo_datasource}"}


def test_logs_are_of_the_chosen_services(name, board):
    panes = [each for each in explored(board) if "loki" in each["datasource"]]
    queries = [each["queries"][0]["expr"] for each in panes]
    assert len(queries) == {"requests": 4, "database": 1}.get(name, 0)
    assert all(query.startswith('{service_name=~"${service:pipe}"} | json') for query in queries)
    offered = {each["name"] for each in board["templating"]["list"]}
    assert ("loki_datasource" in offered) == bool(queries)


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


@pytest.mark.parametrize("source", ["tempo", "loki"])
def test_a_table_asks_for_traces_and_logs_only_where_there_are_some(source):
    """What stands for the variable is a label, and an empty label is none."""
    board = json.loads(build.text_of("requests"))
    asked = [each.expr for each in reading.targets(board) if f"{source}_datasource" in each.expr]
    assert len(asked) == 2
    for expr in asked:
        assert expr.endswith(
            f' and on () (label_replace(vector(1), "is_set", "${{{source}_datasource}}", "", "")'
            " unless on (is_set) vector(0))"
        )
