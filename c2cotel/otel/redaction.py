"""Secrets in the URLs of outgoing requests, which contrib's instrumentor shows on its spans."""

from typing import Any

from c2cotel_instrumentation.redaction import redacted_url

# The names before and after OTEL_SEMCONV_STABILITY_OPT_IN.
_URLS = ("http.url", "url.full")


def redact_client_span(span: Any, _: object) -> None:
    """``request_hook`` of contrib's requests instrumentor, which hides few parameters itself."""
    attributes = getattr(span, "attributes", None) or {}
    for name in _URLS:
        if name in attributes:
            span.set_attribute(name, redacted_url(attributes[name]))
