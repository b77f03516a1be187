import sys

import pytest


@pytest.fixture
def not_gunicorn(monkeypatch):
    """Other tests may have imported it; this process does not fork workers."""
    monkeypatch.delitem(sys.modules, "gunicorn.arbiter", raising=False)
