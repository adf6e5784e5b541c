"""Error pages: what happened, what to do, and a link to the previous page."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from sandbox.store.account import Refused

blueprint = Blueprint("errors", __name__)
TITLES = {404: "Not found", 405: "Method not allowed", 413: "Request too large"}
HINTS = {
    404: "Check the address. The objects of a sandbox are removed with its data folder.",
    405: "Return to the page and use its buttons.",
    413: "A request to the sandbox has at most 1 MiB.",
}
# A form's page has the same address, or the one above it.
PAGES = ("/shop/", "/portal/", "/billing/", "/invoice/", "/checkout/", "/paypal/approve/", "/paypal/subscribe/")
# Addresses of APIs: their errors are not HTML pages.
APIS = ("/stripe/", "/paypal/v", "/control")


@blueprint.app_errorhandler(Refused)
def refused(error: Refused) -> tuple[str, int]:
    """The page of a rejected action."""
    return page("Request rejected", error.message, error.hint, error.status)


@blueprint.app_errorhandler(HTTPException)
def failed(error: HTTPException) -> AnyResponse | tuple[str, int]:
    """The page of an HTTP error: unknown address, wrong method, or an internal error."""
    status = error.code or 500
    if request.path.startswith(APIS):
        return error.get_response()
    title = TITLES.get(status, "Internal error")
    text = f"{request.method} {request.path}" if status in (404, 405) else str(error.description)
    return page(title, text, HINTS.get(status, "This is an error in the sandbox. See its log."), status)


def page(title: str, text: str, hint: str, status: int = 200) -> tuple[str, int]:
    """A message with a link to the previous page."""
    return render_template("message.html", title=title, text=text, hint=hint, back=came_from()), status


def came_from() -> str:
    """The path of the sandbox page that sent the request; never an address of another site."""
    try:
        referrer = urlsplit(request.referrer or "")
    except ValueError:  # malformed; browsers do not send these
        referrer = urlsplit("")
    path = referrer._replace(scheme="", netloc="", fragment="").geturl()
    is_loop = request.method == "GET" and path == request.full_path.rstrip("?")
    if referrer.netloc == request.host and is_local_path(path) and not is_loop:
        return path
    form_of = next((page for page in PAGES if request.path.startswith(page)), None)
    if request.method == "GET" or form_of is None:
        return "/"
    return form_of + request.path.removeprefix(form_of).split("/")[0]


def is_local_path(path: str) -> bool:
    """Whether a redirect to the path stays on this site."""
    return path.startswith("/") and not path.startswith(("//", "/\\"))
