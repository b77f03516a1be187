"""Telemetry instrumentors: each knows the OpenTelemetry API and the one library it listens to."""
