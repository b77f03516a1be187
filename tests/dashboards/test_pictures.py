"""The pictures in the documentation are of the dashboards as they are."""

import copy

from PIL import Image

from c2cotel_boards import build, drawn


def test_the_picture_is_of_what_the_dashboard_is_now(name, board):
    assert drawn.read().get(name) == drawn.digest(board), "run `make pictures`"


def test_there_is_a_picture_of_each_dashboard_and_of_no_other():
    pictures = {path.stem: path for path in drawn.PICTURES.glob("*.png")}
    assert set(pictures) == set(drawn.read()) == set(build.NAMES)
    for path in pictures.values():
        with Image.open(path) as picture:
            picture.verify()
            assert picture.width == 1600


def test_what_is_not_seen_makes_no_picture_old(board):
    other = copy.deepcopy(board)
    panel = next(each for each in other["panels"] if each["type"] != "row")
    panel["description"] = "Another."
    other["links"] = []
    assert drawn.digest(other) == drawn.digest(board)
    panel["title"] = "Another"
    assert drawn.digest(other) != drawn.digest(board)


def test_what_is_drawn_is_noted_beside_the_others(name, tmp_path, board):
    assert drawn.read(tmp_path) == {}
    drawn.note(name, board, tmp_path)
    drawn.note("other", {}, tmp_path)
    assert drawn.read(tmp_path) == {name: drawn.digest(board), "other": drawn.digest({})}
