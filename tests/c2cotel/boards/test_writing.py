"""All files or none, whatever the folder is like."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from c2cotel.boards.writing import WritingError, write

FILES = {"a.json": "1\n", "rules/b.yaml": "ä\n", "rules/tests/c.yaml": "3\n"}


def tree(folder):
    """Each file below *folder*, and what is in it; folders have None."""
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8") if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


WRITTEN = {**FILES, "rules": None, "rules/tests": None}


def test_folders_are_made_and_nothing_else_is_left(tmp_path):
    folder = tmp_path / "x" / "y"
    write(folder, FILES)
    assert tree(folder) == WRITTEN


def test_what_is_there_is_named_and_stays(tmp_path):
    (tmp_path / "a.json").write_text("mine")
    (tmp_path / "other.json").write_text("mine")
    with pytest.raises(WritingError) as error:
        write(tmp_path, FILES)
    assert str(error.value) == (
        f"{tmp_path} has a.json already. Take another folder, or --force to replace."
    )
    assert tree(tmp_path) == {"a.json": "mine", "other.json": "mine"}


def test_of_many_files_some_are_named(tmp_path):
    files = {f"{number}.json": "" for number in range(6)}
    write(tmp_path, files)
    with pytest.raises(WritingError, match=r"has 0\.json, 1\.json, 2\.json and 3 others already"):
        write(tmp_path, files)


def test_what_is_there_can_be_replaced_and_keeps_its_mode(tmp_path):
    (tmp_path / "a.json").write_text("mine")
    (tmp_path / "a.json").chmod(0o640)
    write(tmp_path, FILES, replace=True)
    assert tree(tmp_path) == WRITTEN
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_new_files_have_the_mode_that_the_user_gives_to_files(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "new", FILES)
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "new/rules/b.yaml").stat().st_mode & 0o777 == 0o640


def test_a_link_is_replaced_and_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.json").symlink_to(target)
    write(folder, FILES, replace=True)
    assert target.read_text() == "mine"
    assert tree(folder) == WRITTEN


@pytest.mark.parametrize("place", [".", "..", "rules"])
def test_a_file_where_a_folder_should_be_is_an_error(tmp_path, place):
    folder = tmp_path / "x" / "y"
    file = (folder / place).resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(WritingError) as error:
        write(folder, FILES, replace=True)
    assert str(error.value) == f"{file} is a file: a folder should be there."
    assert tree(tmp_path) == before


def test_a_folder_where_a_file_should_be_is_an_error(tmp_path):
    (tmp_path / "rules/b.yaml").mkdir(parents=True)
    with pytest.raises(WritingError, match="is a folder: a file should be there"):
        write(tmp_path, FILES, replace=True)
    assert tree(tmp_path) == {"rules": None, "rules/b.yaml": None}


@pytest.fixture
def _without_rights():
    """For the time of a test, rights count: root has them all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def locked(request):
    """A folder that can be read, and not written; or only the one within."""
    folder = Path(tempfile.mkdtemp())
    (folder / "rules").mkdir()
    folder.chmod(request.param)
    (folder / "rules").chmod(0o555)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("locked", "below", "told"),
    [
        (0o555, ".", "rules/tests"),
        (0o555, "new", "new"),
        (0o555, "new/newer", "new"),
        (0o777, ".", "rules/tests"),
    ],
    indirect=["locked"],
)
@pytest.mark.usefixtures("_without_rights")
def test_a_folder_that_is_not_writable_is_an_error_and_nothing_is_left(locked, below, told):
    with pytest.raises(WritingError) as error:
        write(locked / below, FILES)
    assert str(error.value) == f"{locked / told} cannot be written: Permission denied."
    assert tree(locked) == {"rules": None}


@pytest.mark.parametrize("locked", [0o555], indirect=True)
@pytest.mark.usefixtures("_without_rights")
def test_a_folder_without_folders_that_is_not_writable_is_an_error(locked):
    with pytest.raises(WritingError) as error:
        write(locked, {"a.json": ""})
    assert str(error.value) == f"{locked} cannot be written: Permission denied."


def test_a_full_disk_is_an_error_before_anything_is_changed(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("mine")

    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(WritingError) as error:
        write(tmp_path, FILES, replace=True)
    assert str(error.value) == f"{tmp_path} cannot be written: No space left on device."
    assert tree(tmp_path) == {"a.json": "mine"}


@pytest.mark.parametrize("reason", [OSError(errno.EIO, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("successes", [0, 1, 2])
def test_what_fails_half_way_is_taken_back(tmp_path, monkeypatch, successes, reason):
    (tmp_path / "a.json").write_text("mine")
    before = tree(tmp_path)
    real, done = Path.replace, []

    def replace(self, target):
        if len(done) == successes and self.suffix == ".new":
            raise reason
        done.append(target)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises((WritingError, KeyboardInterrupt)):
        write(tmp_path, FILES, replace=True)
    assert tree(tmp_path) == before
