"""Every table of the database as a peewee model, in reading order.

docs/schema.md draws it. Each module is one group of tables.
"""

from __future__ import annotations

from models.tables.access import ApiKey, Request, Secret
from models.tables.base import Base
from models.tables.inbox import DrainMarker, InboxEvent, PaypalTransmission
from models.tables.ledger import Account, Allocation, Carry, Entry, Hold, Lot
from models.tables.operations import OperationError, ScheduleRun
from models.tables.outbox import Endpoint, OutboxDelivery, OutboxMessage
from models.tables.payments import Checkout, Payment, PaymentReturn, ProviderCustomer, RefundRequest
from models.tables.plans import ActivationKey, PlanFact, PlanTerms, Subscription
from models.tables.sessions import Session
from models.tables.usage import UsageQueue, UsageReport

TABLES: tuple[type[Base], ...] = (
    *(Account, Lot, Entry, Allocation, Hold, Carry),
    *(UsageReport, UsageQueue),
    *(InboxEvent, DrainMarker, PaypalTransmission),
    *(Payment, PaymentReturn, Checkout, RefundRequest, ProviderCustomer),
    *(Subscription, PlanFact, PlanTerms, ActivationKey),
    *(Session,),
    *(Endpoint, OutboxMessage, OutboxDelivery),
    *(ApiKey, Secret, Request),
    *(OperationError, ScheduleRun),
)
