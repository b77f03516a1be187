"""Tools for the acceptance tests of an application."""
