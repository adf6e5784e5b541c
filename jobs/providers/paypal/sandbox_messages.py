"""Messages of the sandbox's PayPal, which its CA under <data_dir>/sandbox-ca/ signs.

They are for the webhook `WH-SANDBOX` or the app's. The certificate is read from that folder, not from its URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from jobs.providers.paypal.signature import SOURCES, Source, check
from models.catalog.apps import App
from models.errors import BadRequest
from settings import SANDBOX_PAYPAL_WEBHOOK_ID, settings

URL = re.compile(r"http://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?/paypal/v1/notifications/certs/[A-Za-z0-9_-]+")


def names_certificate(url: str) -> bool:
    """Whether the URL is that of a certificate of the sandbox."""
    return URL.fullmatch(url) is not None


def is_genuine(app: App, given: Mapping[str, str], raw: bytes, now_wall: datetime) -> bool:
    """Whether the sandbox's CA signed the message, for the sandbox's webhook id or the app's.

    Raises:
        BadRequest: the sandbox has not created its CA yet.
    """
    source = Source(URL, SOURCES["sandbox"].name)
    known = {SANDBOX_PAYPAL_WEBHOOK_ID, app.paypal.webhook_id, settings.paypal_webhook_id}
    return any(
        check(
            given,
            raw,
            webhook_id=webhook_id,
            sources=(source,),
            fetch_certificate=lambda _: _pem("leaf.pem"),
            roots=[_pem("root.pem")],
            now=now_wall,
        )
        for webhook_id in known
        if webhook_id
    )


def _pem(name: str) -> bytes:
    path: Path = settings.data_dir / "sandbox-ca" / name
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadRequest("this sandbox has not created its signing certificate yet") from None
