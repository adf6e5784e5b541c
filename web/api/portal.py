"""The provider's customer portal, where customers change their subscriptions themselves."""

from __future__ import annotations

from jobs.payments import portal
from web.http.call import Call
from web.http.fields import Body, Shape
from web.http.routes import Answer, Routes
from web.http.urls import Url

routes = Routes("Subscriptions")


class PortalBody(Body):
    return_url: Url
    example = {"return_url": "https://app.example/account"}


class Portal(Shape):
    url: str
    example = {"url": "https://billing.stripe.com/p/session/1"}


@routes.post(
    "/v1/customers/{customer}/portal",
    scope="write",
    customer_token=True,
    can=("subscriptions",),
    body=PortalBody,
    answer=Portal,
    errors=(404, 409),
)
def open_portal(call: Call, customer: str) -> Answer:
    """Create a portal session.

    Returns the URL of the provider's customer portal for this customer. Returns 404 if the provider does not know the
    customer, who has not started a checkout yet.
    """
    return {"url": portal.link(call.app, customer, call.body["return_url"])}, 201
