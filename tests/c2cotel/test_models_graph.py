"""The graph of SQLAlchemy models: what is drawn, once, and that Graphviz understands it."""

import json
import re
import shutil
import subprocess
import sys
from types import ModuleType

import pytest

from c2cotel.cli import main
from c2cotel.models_graph import ModelsGraphError, generate_model_graph, model_graph

MODELS = """
from datetime import datetime
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, Text
from sqlalchemy.orm import (
    DeclarativeBase, Mapped, backref, declarative_base, declared_attr, mapped_column, relationship
)

class Base(DeclarativeBase):
    pass

class Stamped:
    changed_at: Mapped[datetime]
    note = mapped_column(Text)

class Versioned(Stamped):
    version: Mapped[int]

class Thing(Versioned, Base):
    __abstract__ = True

    @declared_attr
    def id(cls) -> Mapped[int]:
        return mapped_column(primary_key=True)

taggings = Table(
    "taggings", Base.metadata,
    Column("document_id", ForeignKey("document.id"), primary_key=True),
    Column("tag_id", ForeignKey("tag.id"), primary_key=True),
)

class Person(Base):
    __tablename__ = "person"
    __table_args__ = {"schema": "staff"}
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    boss_id: Mapped[int | None] = mapped_column(ForeignKey("staff.person.id"))
    boss: Mapped["Person | None"] = relationship(remote_side=[id], back_populates="team")
    team: Mapped[list["Person"]] = relationship(back_populates="boss")
    documents: Mapped[list["Document"]] = relationship(back_populates="owner")
    badge: Mapped["Badge"] = relationship(back_populates="person")

class Badge(Base):
    __tablename__ = "badge"
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey(Person.id))
    person: Mapped[Person] = relationship(back_populates="badge")

class Document(Thing):
    __tablename__ = "document"
    kind: Mapped[str]
    owner_id: Mapped[int] = mapped_column(ForeignKey(Person.id))
    reader_id: Mapped[int] = mapped_column(Integer)
    owner: Mapped[Person] = relationship(back_populates="documents")
    tags: Mapped[list["Tag"]] = relationship(secondary=taggings, backref=backref("documents"))
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "document"}

class Book(Document):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(ForeignKey("document.id"), primary_key=True)
    isbn: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "book"}

class Memo(Document):
    urgency: Mapped[int | None]
    __mapper_args__ = {"polymorphic_identity": "memo"}

class Tag(Base):
    __tablename__ = "tag"
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]

class Visit(Base):
    __tablename__ = "visit"
    id: Mapped[int] = mapped_column(primary_key=True)
    tag_id: Mapped[int] = mapped_column(ForeignKey("tag.id"))
    elsewhere_id: Mapped[int] = mapped_column(ForeignKey("elsewhere.id"))

Other = declarative_base(name="Other")

class Log(Other):
    __tablename__ = 'log <"&">'
    id = Column(Integer, primary_key=True)
"""


def module(text: str, name: str = "shop_models") -> ModuleType:
    made = ModuleType(name)
    sys.modules[name] = made  # where annotations are looked up
    try:
        exec(compile(text, name, "exec"), vars(made))  # noqa: S102 - the models above
    finally:
        del sys.modules[name]
    return made


@pytest.fixture(scope="module")
def models():
    made = ModuleType("shop_models")
    sys.modules["shop_models"] = made
    exec(compile(MODELS, "shop_models", "exec"), vars(made))  # noqa: S102 - the models above
    yield made
    del sys.modules["shop_models"]


@pytest.fixture(scope="module")
def graph(models):
    return model_graph(models)


def edges(graph: str) -> dict[tuple[str, str], list[str]]:
    """The attributes of the edges, by the names of classes and tables at their ends."""
    found: dict[tuple[str, str], list[str]] = {}
    for one, other, attributes in re.findall(
        r'^  "(.*?)" -> "(.*?)" \[(.*)\];$', graph, re.MULTILINE
    ):
        key = tuple(end.removeprefix("shop_models.") for end in (one, other))
        found.setdefault(key, []).append(attributes)
    return found


def columns(graph: str, name: str) -> list[list[str]]:
    """The cells of the rows in the box of the class or table *name*."""
    (box,) = re.findall(rf'^  "(?:\w+\.|table ){name}" \[label=<(.*)>\];$', graph, re.MULTILINE)
    rows = re.findall(r"<TR>(.*?)</TR>", box)[1:]
    return [
        [cell.strip() for cell in re.findall(r'<TD ALIGN="LEFT">(.*?)</TD>', row)] for row in rows
    ]


def test_each_class_has_its_columns_with_types_and_keys(graph):
    assert columns(graph, "Person") == [
        ["id", "INTEGER", "PK"],
        ["name", "VARCHAR(80)", ""],
        ["boss_id", "INTEGER?", "FK staff.person.id"],
    ]
    assert "<B>Person</B>" in graph
    assert ">staff.person<" in graph


def test_a_child_has_what_it_adds(graph):
    assert columns(graph, "Book") == [
        ["id", "INTEGER", "PK, FK document.id"],
        ["isbn", "VARCHAR", ""],
    ]
    assert columns(graph, "Memo") == [["urgency", "INTEGER?", ""]]
    assert [name for name, _, _ in columns(graph, "Document")] == [
        *("kind", "owner_id", "reader_id", "id", "version", "note", "changed_at")
    ]


def test_mixins_and_abstract_classes_are_dashed_and_have_what_they_bring(graph):
    assert columns(graph, "Stamped") == [["note", "TEXT?", ""], ["changed_at", "datetime", ""]]
    assert columns(graph, "Versioned") == [["version", "int", ""]]
    assert graph.count('STYLE="DASHED"') == 3


def test_inheritance_goes_from_class_to_class_without_the_declarative_base(graph):
    arrows = [ends for ends, found in edges(graph).items() if "arrowhead=empty" in found]
    assert sorted(arrows) == [
        ("Book", "Document"),
        ("Document", "Thing"),
        ("Memo", "Document"),
        ("Thing", "Versioned"),
        ("Versioned", "Stamped"),
    ]


def test_a_relationship_of_two_sides_is_drawn_once(graph):
    both = edges(graph)
    assert both["Document", "Person"] == [
        'dir=both, arrowhead=tee, arrowtail=crow, label="owner / documents"'
    ]
    assert ("Person", "Document") not in both


def test_a_foot_tells_how_many_there_may_be(graph):
    assert edges(graph)["Badge", "Person"] == [
        'dir=both, arrowhead=tee, arrowtail=tee, label="person / badge"'
    ]
    assert edges(graph)["Person", "Person"] == [
        'dir=both, arrowhead=teeodot, arrowtail=crow, label="boss / team"'
    ]


def test_an_association_table_is_between_what_it_associates(graph):
    found = edges(graph)
    assert found["Document", "Tag"] == [
        'dir=both, arrowhead=crow, arrowtail=crow, label="tags / documents"'
    ]
    assert columns(graph, "taggings") == [
        ["document_id", "INTEGER", "PK, FK document.id"],
        ["tag_id", "INTEGER", "PK, FK tag.id"],
    ]
    assert found["table taggings", "Document"] == ['style=dotted, label="document_id"']
    assert found["table taggings", "Tag"] == ['style=dotted, label="tag_id"']


def test_a_foreign_key_without_a_relationship_is_dotted(graph):
    assert edges(graph)["Visit", "Tag"] == ['style=dotted, label="tag_id"']
    assert ["elsewhere_id", "", "FK elsewhere.id"] in columns(graph, "Visit")


def test_there_are_no_other_lines(graph):
    assert sum(map(len, edges(graph).values())) == 5 + 4 + 2 + 1


def test_several_bases_have_a_frame_each(graph):
    assert re.findall(r'label="(\w+)"; color', graph) == ["Base", "Other"]


def test_one_base_has_no_frame():
    text = MODELS.partition("Other = ")[0]
    assert "cluster" not in model_graph(module(text, "one_base"))


def test_only_what_is_derived_from_a_class_is_drawn_if_that_is_asked_for(models):
    found = model_graph(models, "Document")
    assert re.findall(r'^  "shop_models.(\w+)" \[', found, re.MULTILINE) == [
        "Book",
        "Document",
        "Memo",
        "Stamped",
        "Thing",
        "Versioned",
    ]
    assert "Person" not in found.replace("staff.person", "")
    assert re.findall(r'^  "shop_models.(\w+)" \[', model_graph(models, "Other"), re.MULTILINE) == [
        "Log"
    ]
    assert '"shop_models.Badge" [' not in model_graph(models, "Versioned")


def test_it_is_the_same_each_time(models, graph):
    assert model_graph(models) == graph


@pytest.mark.skipif(not shutil.which("dot"), reason="needs dot: apt-get install graphviz")
def test_graphviz_understands_it(graph):
    done = subprocess.run(
        ["dot", "-Tjson0"], input=graph.encode(), capture_output=True, check=True, timeout=60
    )
    assert done.stderr == b""
    drawn = json.loads(done.stdout)
    nodes = [each for each in drawn["objects"] if "nodes" not in each]
    assert (len(nodes), len(drawn["edges"])) == (12, 12)
    # All of them have a box: none was made by an edge alone.
    assert all(node["shape"] == "plain" and "<TABLE" in node["label"] for node in nodes)


def test_a_script_has_the_base_as_its_argument(models, monkeypatch, capsys, graph):
    monkeypatch.setattr(sys, "argv", ["models_graph.py"])
    generate_model_graph(models)
    assert capsys.readouterr().out == graph
    monkeypatch.setattr(sys, "argv", ["models_graph.py", "Other"])
    generate_model_graph(models)
    assert capsys.readouterr().out == model_graph(models, "Other")


def test_a_module_that_imports_only_models_is_drawn_too(models, graph):
    importing = ModuleType("importing")
    importing.Person = models.Person
    importing.Log = models.Log
    assert model_graph(importing) == graph


def test_models_mapped_to_a_query_or_without_a_declarative_base_are_drawn():
    found = model_graph(
        module(
            """
from sqlalchemy import Column, Integer, MetaData, Table, select, types
from sqlalchemy.orm import registry

class Strange(types.UserDefinedType):
    pass

own = registry()
table = Table("plain", own.metadata, Column("id", Integer, primary_key=True), Column("s", Strange))

class Plain: pass
class Asked: pass

own.map_imperatively(Plain, table)
own.map_imperatively(Asked, select(table).subquery())
""",
            "mapped_otherwise",
        )
    )
    assert columns(found, "Plain") == columns(found, "Asked")
    assert columns(found, "Plain")[1][0] == "s"
    assert ">a query<" in found


@pytest.mark.parametrize(
    ("text", "base", "told"),
    [
        ("", None, "has no models"),
        ("class Base: pass", "Base", "no class with a table is derived from Base"),
        ("x = 1", "Nope", "has no class Nope"),
        ("x = 1", "x", "has no class x"),
        (
            """
from sqlalchemy import Column, Integer
from sqlalchemy.orm import declarative_base, relationship
Base = declarative_base()
class A(Base):
    __tablename__ = "a"
    id = Column(Integer, primary_key=True)
    b = relationship("B")
""",
            None,
            "'B'",
        ),
    ],
)
def test_what_cannot_be_drawn_is_said_on_one_line(text, base, told):
    with pytest.raises(ModelsGraphError) as error:
        model_graph(module(text, "bad_models"), base)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


# The command


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module, which is not found otherwise."""
    (tmp_path / "shop_here.py").write_text("print('hello')\n" + MODELS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("shop_here", None)
    assert str(tmp_path) not in sys.path


@pytest.mark.usefixtures("here")
def test_the_command_prints_the_graph_and_nothing_else(capfdbinary):
    assert main(["models-graph", "shop_here"]) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"digraph models {\n")
    assert out.endswith(b"}\n")
    assert err == b"hello\n"


@pytest.mark.usefixtures("here")
def test_a_dash_is_standard_output(capfdbinary):
    assert main(["models-graph", "shop_here", "--output", "-"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"digraph models {\n")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("output", "reason"),
    [("/dev/full", "No space left on device"), ("no/such/folder", "No such file or directory")],
)
def test_a_file_that_cannot_be_written_is_one_line_and_ends_with_1(output, reason, capfd):
    assert main(["models-graph", "shop_here", "--output", output]) == 1
    told = f"c2cotel models-graph: {output} cannot be written: {reason}"
    assert capfd.readouterr().err.splitlines()[-1] == told


@pytest.mark.skipif(not shutil.which("dot"), reason="needs dot: apt-get install graphviz")
@pytest.mark.parametrize(
    ("options", "begins"),
    [
        (["--output", "models.svg"], b"<?xml"),
        (["--output", "models.png"], b"\x89PNG"),
        (["--output", "models.txt", "--format", "svg"], b"<?xml"),
        (["--output", "models.SVG"], b"<?xml"),
        (["--output", "models.gv"], b"digraph"),
        (["--output", "models.pdf", "--format", "dot"], b"digraph"),
        (["--output", "models"], b"digraph"),
    ],
)
def test_the_picture_has_the_form_that_is_asked_for_or_that_of_the_file(here, options, begins):
    assert main(["models-graph", "shop_here", "--base", "Base", *options]) == 0
    assert (here / options[1]).read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["no_such_module"], "no_such_module cannot be imported: ModuleNotFoundError: No module"),
        (["broken"], "broken cannot be imported: ValueError: two lines"),
        (["leaving"], "leaving cannot be imported: SystemExit: 3"),
        (["broken.py"], "broken.py: not a module, but a file. Write it as it is imported, for "),
        (["app/models"], "app/models: not a module, but a file. "),
        ([".relative"], ".relative cannot be imported: TypeError: "),
        (["shop_here", "--base", "Nope"], "shop_here has no class Nope."),
        (["string"], "string has no models: "),
        (["shop_here", "--output", "models.pdf"], "models.pdf: .pdf says no form that is known "),
    ],
)
def test_bad_input_is_one_line(here, capfd, arguments, told):
    (here / "broken.py").write_text("raise ValueError('two\\nlines')")
    (here / "leaving.py").write_text("raise SystemExit(3)")
    assert main(["models-graph", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if line != "hello"]
    assert len(lines) == 1
    assert lines[0].startswith(f"c2cotel models-graph: {told}")


def test_the_stack_is_shown_if_it_is_asked_for(here, capfd):
    (here / "broken.py").write_text("raise ValueError('two')")
    assert main(["models-graph", "broken", "--debug"]) == 2
    assert 'broken.py", line 1' in capfd.readouterr().err


def test_a_picture_needs_graphviz(here, capfd, monkeypatch):
    monkeypatch.setenv("PATH", str(here))
    assert main(["models-graph", "shop_here", "--format", "svg"]) == 2
    assert "apt-get install graphviz" in capfd.readouterr().err
