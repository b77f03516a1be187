"""An OpenTelemetry distribution for Pyramid, SQLAlchemy and gunicorn."""
