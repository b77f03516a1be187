"""For all views that look at the objects of this process."""

import gc

import pytest


@pytest.fixture(autouse=True, scope="module")
def _nothing_of_others():
    """What pytest and other tests have is not looked at: it would take seconds each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def whole_heap():
    """What others have is looked at nevertheless."""
    gc.unfreeze()
    yield
    gc.freeze()
