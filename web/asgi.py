"""The entry point of a web process: `granian --interface asginl web.asgi:app`."""

from __future__ import annotations

from runtime.processes import die_with_parent
from settings import settings
from web.app import create_app
from web.server.application import Application
from web.server.stopping import call_on_stop
from workers.start import bind_database, check_keys, configure_logs

if settings.database_url is None or settings.redis_url is None:
    raise SystemExit(
        "web: DATABASE_URL and REDIS_URL must be set; `manage.py up` starts both servers and sets both variables"
    )

die_with_parent()
configure_logs()
check_keys()
bind_database("scrip web", threads=settings.web_threads)
app = Application(create_app(), threads=settings.web_threads, immediate=("/healthz",))
call_on_stop(app.stop)
