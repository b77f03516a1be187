"""What is wrong costs the part that it is about, and one line on stderr."""

import socket

import pytest

SERVE = "print('served')"


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"C2C_PROMETHEUS_PORT": "90x0"},
            (
                "c2cotel: C2C_PROMETHEUS_PORT = '90x0': not a whole number from 0 to 65535. Write "
                "a whole number from 0 to 65535, for example 9090, or leave it empty."
            ),
        ),
        (
            {"C2C_PROMETHEUS_PORT": "99999"},
            (
                "c2cotel: C2C_PROMETHEUS_PORT = '99999': not a whole number from 0 to 65535. Write "
                "a whole number from 0 to 65535, for example 9090, or leave it empty."
            ),
        ),
        (
            {"OTEL_TRACES_EXPORTER": "jaeger"},
            (
                "c2cotel: traces off: OTEL_TRACES_EXPORTER = jaeger: no such exporter. Install its "
                "package, or write one of: none, otlp, console, otlp_proto_http."
            ),
        ),
        (
            {"OTEL_METRICS_EXPORTER": "statsd"},
            (
                "c2cotel: metrics are not pushed: OTEL_METRICS_EXPORTER = statsd: no such "
                "exporter. Install its package, or write one of: none, otlp, console, "
                "otlp_proto_http, prometheus."
            ),
        ),
        (
            {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            (
                "c2cotel: logs off: OTEL_EXPORTER_OTLP_PROTOCOL = http/json: expected one of "
                "http/protobuf, grpc."
            ),
        ),
        (
            {"OTEL_PYTHON_ID_GENERATOR": "dice"},
            (
                "c2cotel: OTEL_PYTHON_ID_GENERATOR = dice: Requested component 'dice' not found in "
                "entry point 'opentelemetry_id_generator'. Random UUIDs are used."
            ),
        ),
        (
            {"OTEL_TRACES_SAMPLER": "dice"},
            (
                "Using default sampler. Failed to initialize sampler, dice: Requested component "
                "'dice' not found in entry point 'opentelemetry_traces_sampler'"
            ),
        ),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "0", "OTEL_TRACES_EXPORTER": "otlp"},
            "c2cotel: traces off: max_queue_size must be a positive integer.",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://", "OTEL_METRICS_EXPORTER": "none"},
            (
                "c2cotel: OTEL_EXPORTER_OTLP_ENDPOINT = 'https://': not an http or https URL. "
                "Write for example http://collector:4318, or leave it empty."
            ),
        ),
        (
            {"C2C_RUN_DIR": "/proc/none/such"},
            (
                "c2cotel: metrics of this process only, a scrape shows no others: "
                "C2C_RUN_DIR = /proc/none/such: No such file or directory"
            ),
        ),
        (
            {"OTEL_CONFIG_FILE": "otel.yaml"},
            "c2cotel: OTEL_CONFIG_FILE is not read: set the OTEL_* and C2C_* variables instead.",
        ),
    ],
)
def test_it_is_said_in_one_line_and_the_application_starts(instrumented, environ, line):
    done = instrumented(SERVE, **environ)
    assert done.errors == [line]
    assert (done.output, done.status) == ("served\n", 0)


def test_a_port_in_use_does_not_keep_the_application_from_starting(instrumented):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = instrumented(SERVE, C2C_PROMETHEUS_PORT=f"{port}", C2C_PROMETHEUS_HOST="127.0.0.1")
    (line,) = done.errors
    start = f"C2C_PROMETHEUS_PORT = {port}: cannot listen on 127.0.0.1: Address already in use"
    assert line.startswith(start)
    assert line.endswith("The application goes on without it; trying again every second.")
    assert (done.output, done.status) == ("served\n", 0)
