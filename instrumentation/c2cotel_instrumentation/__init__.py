"""Telemetry instrumentors: each knows the OpenTelemetry API and the one library it listens to.

PYTEST_DONT_REWRITE: as in :mod:`c2cotel`.
"""
