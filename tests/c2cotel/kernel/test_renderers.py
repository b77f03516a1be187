"""What the JSON renderers write, in answers of real applications."""

import collections
import dataclasses
import enum
import gc
import json
import math
import sys
import time as time_module
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import ClassVar

import msgspec
import pytest
import sqlalchemy
from hypothesis import given, settings
from hypothesis import strategies as st
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationExecutionError
from pyramid.renderers import JSON, render
from pyramid.request import Request
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, Session, mapped_column

from c2cotel.pyramid.renderers import FastJSON

ALL = ("json", "fast_json", "cornice_json", "cornice_fast_json")
FAST = ("fast_json", "cornice_fast_json")


class Text(str):
    __slots__ = ()

    def __str__(self):
        return "not this"


class Count(int):
    pass


class Share(float):
    pass


class Tree(dict):
    pass


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Odd(enum.Enum):
    DAY = date(2024, 2, 29)


Pair = collections.namedtuple("Pair", "a b")  # noqa: PYI024 - an untyped one, as many have


class Moment(datetime):
    """As of freezegun or pendulum."""


class DriversUUID(uuid.UUID):
    """As of asyncpg."""


@dataclasses.dataclass
class Point:
    x: int
    y: object = None
    dimensions: ClassVar[int] = 2


@dataclasses.dataclass
class Place:
    name: str

    def __json__(self, request):
        return {"place": self.name, "at": request.path}


@dataclasses.dataclass
class Late:
    value: int = dataclasses.field(init=False)


class Struct(msgspec.Struct, rename="camel"):
    long_name: int


class Tagged(msgspec.Struct, tag="t"):
    a: int


class Attrs:
    """As attrs makes it."""

    def __init__(self):
        self.a = 1

    __attrs_attrs__ = (types.SimpleNamespace(name="a"),)


class Own:
    def __json__(self, request):
        return [Point(1), Place("p"), math.nan]


class Stranger:
    pass


class Base(DeclarativeBase):
    pass


class Hello(Base):
    __tablename__ = "hello"
    id: Mapped[int] = mapped_column(primary_key=True)


class Modern(MappedAsDataclass, DeclarativeBase):
    pass


class Bye(Modern):
    __tablename__ = "bye"
    id: Mapped[int] = mapped_column(primary_key=True)


def configured(ini=None):
    config = Configurator(settings=ini or {})
    config.include("c2cotel.pyramid.renderers")
    return config


def served(config, value, renderer):
    """What the application answers to ``/v`` whose view returns *value*."""
    config.add_route("v", "/v")
    config.add_view(lambda _: value, route_name="v", renderer=renderer)
    return Request.blank("/v").get_response(config.make_wsgi_app())


def written(value, renderer="fast_json", ini=None):
    response = served(configured(ini), value, renderer)
    assert response.content_type == "application/json"
    return response.body.decode()


def test_the_fast_ones_are_compact_and_escape_neither_slashes_nor_letters():
    value = {"a": [1, 1.5, True, None], "b/c": "é<&>/\u2028\x01\n"}
    text = '{"a":[1,1.5,true,null],"b/c":"é<&>/\u2028\\u0001\\n"}'
    assert [written(value, name) for name in FAST] == [text, text]


def test_the_others_write_what_python_writes():
    value = {"a": [1, 1.5, True, None], "b/c": "é"}
    text = '{"a": [1, 1.5, true, null], "b/c": "\\u00e9"}'
    assert [written(value, name) for name in ("json", "cornice_json")] == [text, text]


@pytest.mark.parametrize("name", ALL)
def test_keys_can_be_sorted_and_lines_indented(name):
    ini = {"c2c.json.pretty_print": "true", "c2c.json.sort_keys": "1"}
    text = '{\n  "a": [\n    1\n  ],\n  "b": []\n}'
    assert written({"b": [], "a": [1]}, name, ini) == text


def test_only_sorted_is_on_one_line():
    value = {"b": {1: 2, "0": 3}, "a": Point(1)}
    text = '{"a":{"x":1,"y":null},"b":{"0":3,"1":2}}'
    assert written(value, "fast_json", {"c2c.json.sort_keys": "true"}) == text


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2024, 2, 29, 1, 2, 3, 4), "2024-02-29T01:02:03.000004"),  # noqa: DTZ001
        (datetime(2024, 2, 29, tzinfo=UTC), "2024-02-29T00:00:00Z"),
        (
            datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=2))),
            "2024-02-29T00:00:00+02:00",
        ),
        (Moment(2024, 2, 29, tzinfo=UTC), "2024-02-29T00:00:00Z"),
        (date(2024, 2, 29), "2024-02-29"),
        (time(1, 2), "01:02:00"),
        (timedelta(minutes=1, seconds=30), "PT90S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (DriversUUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), 1.5),
        (Decimal("1E+3"), 1000),
        (Colour.RED, "red"),
        (Level.LOW, 1),
        (Right.READ | Right.WRITE, 3),
        (Odd.DAY, "2024-02-29"),
        (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
        (Late(), {}),
        (Struct(1), {"longName": 1}),
        (Tagged(1), {"type": "t", "a": 1}),
        (Attrs(), {"a": 1}),
        (Pair(1, 2), [1, 2]),
        ({1}, [1]),
        (frozenset({1}), [1]),
        (collections.deque([1, Point(2)]), [1, {"x": 2, "y": None}]),
        (range(3), [0, 1, 2]),
        ({"a": 1}.keys(), ["a"]),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.defaultdict(list, a=[1]), {"a": [1]}),
        (Tree(a=Place("p")), {"a": {"place": "p", "at": "/v"}}),
        (Text("a"), "a"),
        (Count(7), 7),
        (Share(1.5), 1.5),
        ({Text("a"): 1, Level.LOW: 2}, {"a": 1, "1": 2}),
        ({None: 1, True: 2, 1.5: 3, 7: 4}, {"null": 1, "true": 2, "1.5": 3, "7": 4}),
        (2**200, 2**200),
        (-(2**63) - 1, -(2**63) - 1),
        (bytearray(b"ab"), "YWI="),
        ("\ud800 é", "\ud800 é"),
        ({"\ud800": [date(2024, 2, 29)]}, {"\ud800": ["2024-02-29"]}),
        (Place("p"), {"place": "p", "at": "/v"}),
        ([Point(1, [Place("p")])], [{"x": 1, "y": [{"place": "p", "at": "/v"}]}]),
        ({"a": (Place("p"),)}, {"a": [{"place": "p", "at": "/v"}]}),
    ],
)
def test_types_that_json_does_not_have(name, value, expected):
    assert json.loads(written(value, name)) == expected


def test_a_decimal_keeps_its_digits_in_the_fast_ones():
    value = [Decimal("1.50"), Decimal("0.1000000000000000000001")]
    assert written(value) == "[1.50,0.1000000000000000000001]"


def test_bytes_are_base64_but_utf_8_for_cornice():
    texts = [json.loads(written("é".encode(), name)) for name in ALL]
    assert texts == ["w6k=", "w6k=", "é", "é"]


@pytest.mark.parametrize("name", FAST)
def test_what_is_no_number_is_null_in_the_fast_ones(name):
    value = [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity"), {"NaN": "NaN"}]
    assert written(value, name) == '[null,null,null,null,null,{"NaN":"NaN"}]'
    assert written([Own()], name).endswith('"at":"/v"},null]]')
    assert written([Decimal("NaN")], name, {"c2c.json.pretty_print": "true"}) == "[\n  null\n]"


def test_a_surrogate_that_stands_alone_is_escaped_also_when_indented():
    text = '{\n  "a": [\n    "\\ud800"\n  ],\n  "d": 1.5\n}'
    value = {"a": ["\ud800"], "d": Decimal("1.5")}
    assert written(value, "fast_json", {"c2c.json.pretty_print": "true"}) == text


@pytest.mark.parametrize("name", ALL)
def test_a_row_is_an_object_of_its_columns(name):
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT 1 AS a, 'x' AS b")).all()
        again = connection.execute(sqlalchemy.text("SELECT 1 AS a")).mappings().all()
    engine.dispose()
    assert json.loads(written(rows, name)) == [{"a": 1, "b": "x"}]
    assert json.loads(written({"rows": again}, name)) == {"rows": [{"a": 1}]}


@pytest.mark.parametrize("name", ALL)
def test_a_row_with_two_columns_of_one_name_loses_none_silently(name):
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT 1 AS a, 2 AS a")).all()
    engine.dispose()
    with pytest.raises(ValueError, match=r"two columns of one name, of a: give one a label\(\)"):
        written(rows, name)


def rows_of(statement, *, mappings=False):
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.connect() as connection:
        result = connection.execute(statement)
        rows = (result.mappings() if mappings else result).all()
    engine.dispose()
    return rows


@pytest.mark.parametrize("mappings", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_what_is_in_a_row_is_written_as_anywhere(name, mappings):
    values = {
        "i": 1,
        "day": date(2024, 2, 29),
        "colour": Colour.RED,
        "place": Place("p"),
        "n": None,
    }
    columns = [
        sqlalchemy.literal(value, sqlalchemy.PickleType).label(k) for k, value in values.items()
    ]
    rows = rows_of(sqlalchemy.select(*columns), mappings=mappings)
    expected = {**values, "day": "2024-02-29", "colour": "red", "place": {"place": "p", "at": "/v"}}
    assert json.loads(written(rows * 2, name)) == [expected] * 2


@pytest.mark.parametrize("name", FAST)
def test_what_is_no_number_is_null_in_a_row_too(name):
    values = [Decimal("NaN"), math.nan, "NaN"]
    columns = [
        sqlalchemy.literal(value, sqlalchemy.PickleType).label(f"c{place}")
        for place, value in enumerate(values)
    ]
    assert (
        written(rows_of(sqlalchemy.select(*columns)), name) == '[{"c0":null,"c1":null,"c2":"NaN"}]'
    )


@pytest.mark.parametrize("name", ALL)
def test_the_application_may_write_rows_in_its_own_way(name):
    config = configured()
    (row,) = rows_of(sqlalchemy.text("SELECT 1 AS a, 'x' AS b"))
    config.add_c2c_json_adapter(type(row), lambda row, _: list(row))
    assert served(config, [row], name).json == [[1, "x"]]


def test_rows_are_written_faster_by_the_fast_one():
    """It takes less than a third of the time."""
    config = configured()
    config.commit()
    rows = rows_of(sqlalchemy.text("SELECT 1 AS a, 'x' AS b, 1.5 AS c")) * 2000

    def least(name):
        render = config.registry.c2c_json_renderers[name](None)
        times = []
        for _ in range(5):
            begin = time_module.thread_time()
            render(rows, {})
            times.append(time_module.thread_time() - begin)
        return min(times)

    assert least("fast_json") < least("json") * 0.7


def persistent(kind):
    engine = sqlalchemy.create_engine("sqlite://")
    kind.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(kind(id=1))
        session.flush()
        found = session.get(kind, 1)
        session.expunge_all()
    engine.dispose()
    return found


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (Stranger, "test_renderers.Stranger"),
        (lambda: persistent(Hello), "test_renderers.Hello"),
        (lambda: [persistent(Bye)], "test_renderers.Bye"),
        (lambda: [1j], "builtins.complex"),
        (lambda: {"a": (i for i in "x")}, "builtins.generator"),
        (lambda: int, "builtins.type"),
    ],
)
def test_what_nobody_knows_is_said_with_what_would_do(name, value, kind):
    with pytest.raises(TypeError) as caught:
        written(value(), name)
    message = str(caught.value)
    assert f"{kind} cannot be written as JSON" in message
    assert "__json__" in message
    assert f"config.add_c2c_json_adapter({kind.rpartition('.')[2]}, " in message


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Stranger, Stranger()),
        (datetime, datetime(2024, 2, 29, tzinfo=UTC)),
        (uuid.UUID, uuid.UUID(int=1)),
        (Decimal, Decimal("1.5")),
        (Point, Point(1)),
        (Struct, Struct(1)),
        (Colour, Colour.RED),
        (frozenset, frozenset()),
        (bytes, b"x"),
        (Hello, Hello(id=1)),
        (Bye, Bye(id=1)),
        (types.MappingProxyType, types.MappingProxyType({})),
    ],
)
def test_an_adapter_decides_also_about_the_types_that_are_known(name, kind, value):
    config = configured()
    config.add_c2c_json_adapter(kind, lambda obj, request: [type(obj).__name__, request.path])
    response = served(config, {"a": [value]}, name)
    assert response.json == {"a": [[type(value).__name__, "/v"]]}


def test_an_adapter_of_one_renderer_is_that_ones():
    config = configured()
    config.registry.c2c_json_renderers["fast_json"].add_adapter(Stranger, lambda *_: "s")
    assert served(config, Stranger(), "fast_json").json == "s"


@pytest.mark.parametrize("name", ALL)
def test_an_adapter_may_come_after_the_first_answer(name):
    config = configured()
    config.add_route("v", "/v")
    config.add_view(lambda _: Point(1), route_name="v", renderer=name)
    app = config.make_wsgi_app()
    assert Request.blank("/v").get_response(app).json == {"x": 1, "y": None}
    config.add_c2c_json_adapter(Point, lambda point, _: point.x)
    assert Request.blank("/v").get_response(app).json == 1


def test_a_renderer_that_the_application_adds_wins():
    config = configured()
    config.add_renderer("fast_json", FastJSON([(Stranger, lambda *_: "mine")]))
    config.add_renderer("json", JSON(indent=1))
    assert served(config, [Stranger()], "fast_json").json == ["mine"]
    assert served(config, [1], "json").text == "[\n 1\n]"


@pytest.mark.parametrize("name", ["json", "fast_json"])
def test_a_renderer_gives_text_without_a_request_too(name):
    config = configured()
    config.commit()
    with config:
        assert json.loads(render(name, {"a": Point(1)})) == {"a": {"x": 1, "y": None}}


def circle():
    value = []
    value += [value, {"a": value}, value]
    return value


def tower(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.fixture
def no_collection():
    """Whatever earlier tests have left could not be finalized where there is no stack left."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("value", [circle, lambda: tower(100_000)])
def test_a_value_without_an_end_is_an_error_soon(name, value):
    with pytest.raises(ValueError, match="contains itself, or is too deep"):
        written(value(), name)


def test_a_deep_value_is_written():
    assert written(tower(300)) == "[" * 301 + "]" * 301


def test_a_key_that_is_none_is_said():
    with pytest.raises(TypeError, match="tuple: this is no key of an object in JSON"):
        written({(1, 2): 3})
    with pytest.raises(TypeError, match="list: this is no key of an object in JSON"):
        written([Own(), {frozenset((1, 2)): 3}])


def test_an_error_of_an_adapter_is_the_applications_to_see():
    config = configured()
    config.add_c2c_json_adapter(Stranger, lambda *_: {}["missing"])
    with pytest.raises(KeyError, match="missing"):
        served(config, Stranger(), "fast_json")


def test_a_view_that_names_cornice_without_it_stops_the_start(monkeypatch):
    # As where it is not installed: nothing finds it.
    monkeypatch.setitem(sys.modules, "cornice", None)
    config = configured()
    config.add_view(lambda _: 1, renderer="fast_json", name="a")
    config.commit()
    config.add_view(lambda _: 1, renderer="cornice_fast_json", name="b")
    with pytest.raises(ConfigurationExecutionError) as caught:
        config.commit()
    assert (
        "The renderer cornice_fast_json needs cornice: pip install 'c2cotel[cors]', "
        "or name fast_json" in str(caught.value)
    )


def test_classes_of_one_request_are_not_kept_for_ever():
    renderer = FastJSON()
    dumps = renderer._encoder.dumps
    for _ in range(3000):
        dumps([dataclasses.make_dataclass("C", ["a"])(1)])
    assert len(renderer._encoder._ways) <= 2001


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
ENCODER = FastJSON()._encoder
SORTED = FastJSON(indent=2, sort_keys=True)._encoder


@settings(deadline=None)
@given(JSON_VALUES)
def test_what_is_json_comes_back_the_same(value):
    assert json.loads(ENCODER.dumps(value)) == value
    assert json.loads(SORTED.dumps(value)) == value


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    )
)
def test_the_bytes_are_those_of_python_without_blanks(value):
    expected = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    # DEL is printable for msgspec, and so it is for Python; a lone surrogate makes all ASCII.
    try:
        expected.encode()
    except UnicodeEncodeError:
        expected = json.dumps(value, separators=(",", ":"))
    assert ENCODER.dumps(value) == expected


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]))
    | st.decimals()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.timedeltas()
    | st.uuids()
    | st.binary()
    | st.builds(Point, st.integers(), st.floats())
    | st.builds(Place, st.text())
    | st.sampled_from([Colour.RED, Level.LOW, Odd.DAY, Right(3), Stranger, Stranger()]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.none() | st.booleans() | st.floats() | st.text(), inner)
        | st.tuples(inner, inner)
        | st.builds(Point, st.integers(), inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(ANYTHING)
def test_whatever_a_view_returns_it_is_json_or_a_clear_error(value):
    def refuse(constant):
        raise AssertionError(constant)

    request = Request.blank("/v")
    try:
        text = ENCODER.dumps(value, FastJSON()._make_default(request))
    except TypeError as error:
        assert "cannot be written as JSON" in str(error)  # noqa: PT017 - or nothing is raised
        return
    json.loads(text, parse_constant=refuse)
    text.encode()
