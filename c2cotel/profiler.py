"""Profiles of parts of an application, by cProfile."""


class Profile:
    """Being written."""
