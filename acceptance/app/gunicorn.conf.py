# ruff: noqa: INP001 - gunicorn reads this file, nothing imports it
"""What gunicorn reads when it starts in this folder; its command line wins over it."""

import os

bind = os.environ.get("GUNICORN_BIND", "127.0.0.1:8080")
workers = int(os.environ.get("GUNICORN_WORKERS", "2"))
threads = int(os.environ.get("GUNICORN_THREADS", "4"))

# The request's id in the access log: c2cotel sends it back in this header.
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %(M)sms %({x-request-id}o)s'
