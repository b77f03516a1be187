"""Names in PromQL: whatever a parser takes for a metric or a label, and nothing else."""

import re

import promql_parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.prometheus._mapping import sanitize_full_name

from c2cotel.boards.promql import Names, PromqlError, metrics, rewrite

# What no other text has, so that taking it out again gives the original.
NAMES = Names("zz9", "zz9label")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("c2c_x", "shop_c2c_x"),
        ("up == 0 and on (job) c2c_x", "up == 0 and on (service) shop_c2c_x"),
        ('ALERTS{job="job"}', 'ALERTS{service="job"}'),
        (
            "job:c2c_x:sum > scrape_duration_seconds",
            "job_by_service:shop_c2c_x:sum > scrape_duration_seconds",
        ),
        ("target_info", "target_info"),
        ("sum by(job)(x)", "sum by(service)(shop_x)"),
        ("sum(x) BY (job, le)", "sum(shop_x) BY (service, le)"),
        (
            "x * on (job) group_left (version) y",
            "shop_x * on (service) group_left (version) shop_y",
        ),
        ("job", "shop_job"),
        ("{job='a',__name__='c2c_x'}", "{service='a',__name__='shop_c2c_x'}"),
        ('{__name__!="up"}', '{__name__!="up"}'),
        ("rate(x[5m:1m] offset -1h30m)", "rate(shop_x[5m:1m] offset -1h30m)"),
        ("x @ start() + time() - Inf", "shop_x @ start() + time() - Inf"),
        ("1e3 * x + 0x1F + .5e-3", "1e3 * shop_x + 0x1F + .5e-3"),
        ("x # x by (job)\n+ y", "shop_x # x by (job)\n+ shop_y"),
        (r'x{a="\"} or y{job="}', r'shop_x{a="\"} or y{job="}'),
        ("x{a=`job \\`} or y", "shop_x{a=`job \\`} or shop_y"),
        (
            'label_replace(x, "job", "job", "job", "(job)")',
            'label_replace(shop_x, "service", "job", "service", "(job)")',
        ),
        (
            'label_join(x, "a", "job", "job", "b", "job")',
            'label_join(shop_x, "a", "job", "service", "b", "service")',
        ),
        (
            'count_values by (job) ("job", label_replace(x, "a", "job", "b", "job"))',
            'count_values by (service) ("service", label_replace(shop_x, "a", "job", "b", "job"))',
        ),
        (
            'rate(x{job=~"$job"}[$__rate_interval]) > $limit',
            'rate(shop_x{service=~"$job"}[$__rate_interval]) > $limit',
        ),
        ("c2c_${kind:raw}_total / ${metric}_total", "shop_c2c_${kind:raw}_total / ${metric}_total"),
        ("x{$$__tags} offset $__range", "shop_x{$$__tags} offset $__range"),
        ("", ""),
    ],
)
def test_names_become_others(expression, expected):
    assert rewrite(expression, Names("shop", "service")) == expected


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ('x{a="b}', 'a quote without an end: "b}'),
        ("sum(x", "( without an end: sum(x"),
        ("sum(x])", "] without a beginning: sum(x])"),
        ('{__name__=~"c2c_.*"}', "names of metrics by a pattern: "),
    ],
)
def test_what_cannot_be_understood_is_an_error(expression, problem):
    with pytest.raises(PromqlError, match=f"^{re.escape(problem)}"):
        rewrite(expression, NAMES)


def test_without_other_names_nothing_is_even_looked_at():
    assert rewrite("sum(x", Names()) == "sum(x"


def test_metrics_are_those_that_are_asked_for():
    assert metrics('rate(b{a="c"}[5m]) / on (d) up > bool a:b:c') == ["a:b:c", "b", "up"]


@given(st.from_regex(r"[A-Za-z_:][A-Za-z0-9_:.]{0,12}", fullmatch=True))
def test_the_prefix_is_written_as_the_scrape_has_it(prefix):
    name = "http_server_active_requests"
    assert Names(prefix).metric(name) == sanitize_full_name(f"{prefix}_{name}")


# Any expression

_METRICS = st.sampled_from(
    ["c2c_x_total", "up", "job", "rate", "by_x", "on_call", "a:b:c", "offset_x", "inf_x", "_x"]
)
_LABELS = st.sampled_from(["job", "le", "on", "by", "sum", "c2c_x_total", "offset", "bool", "up"])
_STRINGS = st.sampled_from(
    # In backticks a backslash means nothing; this parser does not know that.
    ['"job"', "'c2c_x_total'", "`job } x`", r'"a\"}b"', r"'\'by (job)'", '"# {("', '""', "')'"]
)
_BLANKS = st.sampled_from(["", "", " ", "  ", "\n", ' # by (job) "{(\n'])
_FUNCTIONS = st.sampled_from(["rate", "increase", "max_over_time"])
_AGGREGATIONS = st.sampled_from(["sum", "MAX", "group", "count"])
_RANGES = st.sampled_from(["5m", "1h30m", "90s"])


_AT = st.sampled_from(["", "", " offset 5m", " @ end()", " offset -1h @ 12"])


@st.composite
def _vectors(draw):
    blank = draw(_BLANKS)
    operator = st.sampled_from(["=", "!="])
    matchers = draw(st.lists(st.tuples(_LABELS, operator, _STRINGS), max_size=3))
    inside = f",{blank}".join(f"{a}{blank}{b}{blank}{c}" for a, b, c in matchers)
    return draw(_METRICS) + (f"{blank}{{{blank}{inside}{blank}}}" if matchers else "")


def _grouping(words):
    listed = st.lists(_LABELS, max_size=3, unique=True).map(", ".join)
    return st.builds("{} {}{}({})".format, words, _BLANKS, _BLANKS, listed)


_BY = _grouping(st.sampled_from(["by", "without", "BY"]))
_ON = _grouping(st.sampled_from(["on", "ignoring"]))


_SELECTORS = st.builds("{}{}".format, _vectors(), _AT)
_RATES = st.builds("{}({}[{}]{})".format, _FUNCTIONS, _vectors(), _RANGES, _AT)


def _larger(smaller):
    return st.one_of(
        st.builds("{}{}({}{})".format, _AGGREGATIONS, _BLANKS, _BLANKS, smaller),
        st.builds("{} {}{}({})".format, _AGGREGATIONS, _BY, _BLANKS, smaller),
        st.builds("{}({}) {}".format, _AGGREGATIONS, smaller, _BY),
        st.builds("count_values {} ('job', {})".format, _BY, smaller),
        st.builds("quantile(0.9, {}) {}".format, smaller, _BY),
        st.builds("histogram_quantile(0.9, {})".format, smaller),
        st.builds('label_replace({}, "job", "$1", "job", "job")'.format, smaller),
        st.builds('label_join({}, "a", "job", "job", "le")'.format, smaller),
        st.builds("({}){}+{}({})".format, smaller, _BLANKS, _BLANKS, smaller),
        st.builds("({}) / {} ({})".format, smaller, _ON, smaller),
        st.builds("({}) > bool ignoring (le) group_left (job, up) ({})".format, smaller, smaller),
        st.builds("({}) and {} ({})".format, smaller, _ON, smaller),
        st.builds("max_over_time(({})[1h:5m])".format, smaller),
        st.builds("-({}) * 1e3".format, smaller),
    )


_EXPRESSIONS = st.recursive(st.one_of(_SELECTORS, _RATES), _larger, max_leaves=6)


def _parsed(expression):
    """What a parser says: the names of metrics, and those of labels, in order."""
    found, labels = [], []

    def visit(node):
        match node:
            case promql_parser.VectorSelector():
                found.append(node.name)
                labels.extend(matcher.name for matcher in node.matchers.matchers)
            case promql_parser.MatrixSelector():
                visit(node.vector_selector)
            case promql_parser.AggregateExpr() if node.modifier is not None:
                labels.extend(node.modifier.labels)
            case promql_parser.BinaryExpr() if node.modifier is not None:
                matching = node.modifier.matching
                labels.extend(matching.labels if matching is not None else ())
        return True

    promql_parser.walk(promql_parser.parse(expression), pre_visit=visit)
    return found, labels


@given(_EXPRESSIONS)
@settings(max_examples=300, deadline=None)
def test_a_parser_finds_the_other_names_in_any_expression(expression):
    rewritten = rewrite(expression, NAMES)
    found, labels = _parsed(expression)
    assert _parsed(rewritten) == (
        [NAMES.metric(name) for name in found],
        [NAMES.label(name) for name in labels],
    )
    back = rewritten.replace("_by_zz9label:", ":").replace("zz9_", "").replace("zz9label", "job")
    assert back == expression


@given(_EXPRESSIONS)
@settings(max_examples=100, deadline=None)
def test_variables_of_grafana_change_nothing(expression):
    with_variables = expression.replace("[5m]", "[$__rate_interval]").replace("1e3", "${factor}")
    rewritten = rewrite(with_variables, NAMES)
    back = rewritten.replace("[$__rate_interval]", "[5m]").replace("${factor}", "1e3")
    assert back == rewrite(expression, NAMES)


@given(st.text(alphabet="xj_:$ {}()[]\"'`#,=~!123by\n\\"))
def test_any_text_is_rewritten_or_refused(text):
    try:
        rewritten = rewrite(text, NAMES)
    except PromqlError:
        return
    assert rewritten.replace("_by_zz9label:", ":").replace("zz9_", "") == text
