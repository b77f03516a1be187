"""What runs the pages, on pages that are right and on pages that are not."""

import textwrap

import pytest

from c2cotel_docs import blocks, pip_stand_in, running


@pytest.fixture
def page(tmp_path):
    """``page(text)``: as it is read from the file ``docs/a.md``."""

    def write(text):
        path = tmp_path / "docs/a.md"
        path.parent.mkdir()
        path.write_text(textwrap.dedent(text).lstrip())
        return blocks.read(path, tmp_path)

    return write


@pytest.fixture
def run(page, tmp_path):
    """``run(text)`` does what the page says; the folder that it was done in."""

    def do(text, **environ):
        folder = tmp_path / "page"
        folder.mkdir()
        running.run(page(text), folder, environ)
        return folder

    return do


def test_files_scripts_and_commands_are_done_in_the_order_of_the_page(run):
    folder = run(
        """
        # A page

        ```python title="package/module.py"
        WORD = "first"
        ```

        ```console
        $ python -c "from package import module; print(module.WORD)" | tee -a said
        first
        ```

        ```python
        from pathlib import Path

        with Path("said").open("a") as said:
            said.write("second\\n")
        ```

        - in a list

          ```console
          $ export WORD=third && cd package
          $ echo $WORD; \\
              pwd
          third
          .../page/package
          ```
        """
    )
    assert (folder / "said").read_text() == "first\nsecond\n"


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```console\n$ true\n$ false\n```", r"docs/a.md:3: \$ false\nends with status 1"),
        ("```console\n$ echo a\nb\n```", r"docs/a.md:2: \$ echo a\nis shown to print\nb\nand"),
        ("```console\n$ echo 'a\n```", r"docs/a.md:2: \$ echo 'a: .*unexpected EOF"),
        ("```console\n$ exit 3\n```", r"docs/a.md:2: \$ exit 3\nhas ended the shell"),
        ("```console\nls\n```", r"docs/a.md:2: 'ls' comes before any `\$ command`"),
        ("```console\n$ (echo said; exit 4)\n```", "status 4, and printed\nsaid"),
        ("```python\nraise SystemExit(1)\n```", r"docs/a.md:2: \$ python block_2.py\nends"),
        ('```python title="x.py"\n\n1 +\n```', "docs/a.md:3: no Python: invalid syntax"),
        ("<!-- not run: no docker -->\n```yaml\na: [\n```", r"docs/a.md:\d: no YAML"),
        ("```json\n{\n\n```", r"docs/a.md:\d: no JSON"),
        ("```toml\na\n```", r"docs/a.md:2: no TOML"),
        ("```promql\nsum(up\n```", r"docs/a.md:2: no PromQL"),
        ("```ini\n[a\n```", "docs/a.md:2: no ini file"),
        ("```ini\nc2c.healthcheck_grace = 5\n```", r"docs/a.md:2: .*c2c\.health_check_grace"),
        ("```ini\nc2c.health_check_grace = soon\n```", r"docs/a.md:2: .*not a number"),
        ("```pyton\n```", "docs/a.md:1: language 'pyton': of python, "),
        ("```\na\n```", "docs/a.md:1: language ''"),
        ("```python\n", "docs/a.md:1: this block is not closed"),
        ('```text title="../x"\n```', "docs/a.md:1: title='../x': no file below"),
        ("---\nneeds: [oracle]\n---\n", r"docs/a.md:1: needs \['oracle'\]"),
        ("```console\n$ pip install 'c2cotel[rediss]'\n```", r"no extra \['rediss'\]; there are"),
    ],
)
def test_a_block_that_is_wrong_is_told_with_file_and_line(run, block, message):
    with pytest.raises(blocks.BlockError, match=message):
        run(block)


def test_what_is_not_run_is_not_done(run):
    text = """
        <!-- not run: there is no docker -->
        ```console
        $ touch here; docker run it
        ```
        """
    assert not (run(text) / "here").exists()


def test_a_reason_that_is_not_given_is_empty(page):
    (first, second) = page("<!-- not run -->\n```text\n```\n\n```text\n```\n").blocks
    assert (first.not_run, second.not_run) == ("", None)


def test_what_is_started_in_the_background_is_waited_for_and_ended(run):
    folder = run(
        """
        ```python title="late.py"
        import http.server, pathlib, signal, sys, time

        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        time.sleep(0.5)
        server = http.server.HTTPServer(("localhost", 8123), http.server.SimpleHTTPRequestHandler)
        try:
            server.serve_forever()
        finally:
            pathlib.Path("ended").touch()
        ```

        ```console
        $ python late.py 2> late.log &
        $ curl --silent http://localhost:8123/late.py | head -1
        import http.server, ...
        $ grep -c late.py late.log
        1
        ```
        """
    )
    assert (folder / "ended").exists()
    # The port of the page may be another program's here.
    assert "8123" not in (folder / "late.py").read_text()


def test_what_runs_in_the_background_is_part_of_the_message(run):
    with pytest.raises(blocks.BlockError, match="in the background\nwhat went wrong"):
        run("```console\n$ { echo what went wrong; sleep 60; } &\n$ false\n```")


def test_a_command_that_does_not_end_is_told_and_ended(page, tmp_path):
    sleeps = page("```console\n$ sleep 60\n```").blocks
    with (
        running.Shell(tmp_path, {"PATH": "/usr/bin:/bin"}, deadline=0.2) as shell,
        pytest.raises(blocks.BlockError, match=r"docs/a.md:2: \$ sleep 60\nstill runs after 0.2 s"),
    ):
        running.follow(sleeps, shell, {})
    assert shell.members() == []


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("", "anything\n", True),
        ("a\nb", "a\nb\n", True),
        ("a", "a\nb\n", False),
        ("a\n...\nc", "a\nb\nb\nc\n", True),
        ("a\n…\nc", "a\nc\n", True),
        ("...\nc", "a\nb\n", False),
        ('{"pid": ..., "a": 1}', '{"pid": 17, "a": 1}\n', True),
        ('{"pid": ..., "a": 1}', '{"pid": 17, "a": 2}\n', False),
        ("a  \n\n", "a\n", True),
    ],
)
def test_three_points_stand_for_anything(shown, printed, same):
    assert blocks.agrees(tuple(shown.splitlines()), printed) is same


def test_of_pip_the_extras_are_looked_at(capsys):
    assert pip_stand_in.main(["install", "-r", "x", "c2cotel[redis,db]", "gunicorn >= 20"]) == 0
    assert pip_stand_in.main(["install", "c2cotel[ all"]) == 1
    assert pip_stand_in.main(["uninstall", "c2cotel"]) == 1
    assert "`pip install` only" in capsys.readouterr().err
