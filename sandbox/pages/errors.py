"""What a person sees of an error: what happened, what to do, and the way back to where they came from."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Blueprint, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from sandbox.store.account import Refused

blueprint = Blueprint("errors", __name__)
TITLES = {404: "There is nothing here", 405: "This page takes no such request", 413: "That was too much"}
HINTS = {
    404: "The address may be mistyped, or belong to a sandbox whose data folder was removed.",
    405: "Go back, and use the buttons of the page.",
    413: "A form of the sandbox has at most 1 MiB.",
}
# Forms have their page at the same address, or one step above.
PAGES = ("/shop/", "/portal/", "/checkout/", "/paypal/approve/")
# Addresses of programs: their errors are the provider's own, or plain.
APIS = ("/stripe/", "/paypal/v", "/control")


@blueprint.app_errorhandler(Refused)
def refused(error: Refused) -> tuple[str, int]:
    """The sandbox does not do it, and says why."""
    return page("That did not work", error.message, error.hint, error.status)


@blueprint.app_errorhandler(HTTPException)
def failed(error: HTTPException) -> AnyResponse | tuple[str, int]:
    """No such page, no such method, or a defect."""
    status = error.code or 500
    if request.path.startswith(APIS):
        return error.get_response()
    title = TITLES.get(status, "Something went wrong")
    text = f"{request.method} {request.path}" if status in (404, 405) else str(error.description)
    return page(title, text, HINTS.get(status, "It is a defect of the sandbox; its log tells more."), status)


def page(title: str, text: str, hint: str, status: int = 200) -> tuple[str, int]:
    """A message with the way back."""
    return render_template("message.html", title=title, text=text, hint=hint, back=came_from()), status


def came_from() -> str:
    """The path of the sandbox's page that the browser was on; never another site's."""
    try:
        at = urlsplit(request.referrer or "")
    except ValueError:  # no browser sends such a one
        at = urlsplit("")
    path = at._replace(scheme="", netloc="", fragment="").geturl()
    is_loop = request.method == "GET" and path == request.full_path.rstrip("?")
    if at.netloc == request.host and is_our_path(path) and not is_loop:
        return path
    form_of = next((page for page in PAGES if request.path.startswith(page)), None)
    if request.method == "GET" or form_of is None:
        return "/"
    return form_of + request.path.removeprefix(form_of).split("/")[0]


def is_our_path(path: str) -> bool:
    """Whether a browser that is sent there stays with us."""
    return path.startswith("/") and not path.startswith(("//", "/\\"))
