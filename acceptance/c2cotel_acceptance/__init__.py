"""Tools for the acceptance tests of an application."""

from c2cotel_acceptance.utils import retry

__all__ = ["retry"]
