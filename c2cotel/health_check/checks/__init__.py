"""The checks that come along; each makes functions for :class:`c2cotel.health_check.core.Check`."""
