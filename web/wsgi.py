"""The WSGI entry point: `gunicorn web.wsgi:app`."""

from __future__ import annotations

from settings import settings
from web.app import create_app
from workers.start import bind_database, check_keys, configure_logs

if settings.database_url is None or settings.redis_url is None:
    raise SystemExit(
        "web: DATABASE_URL and REDIS_URL must be set; `manage.py up` starts both servers and sets both variables"
    )

configure_logs()
check_keys()
bind_database("scrip web", threads=settings.web_threads)
app = create_app()
