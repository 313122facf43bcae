"""A client of Alpha Panda, synchronous (`Client`) and asynchronous (`AsyncClient`), with the same names.

with Client("127.0.0.1:50051") as client:
    order = client.trading.PlaceOrder(PlaceOrderRequest(symbol="NSE:INFY", side="SIDE_BUY", quantity=10))
"""

from alphapanda_client.aio import AsyncClient
from alphapanda_client.client import Client
from alphapanda_client.connection import from_environment
from alphapanda_client.decimals import to_decimal, to_rupees
from alphapanda_client.errors import PlatformError
from alphapanda_client.policy import new_request_id

__all__ = [
    "AsyncClient",
    "Client",
    "PlatformError",
    "from_environment",
    "new_request_id",
    "to_decimal",
    "to_rupees",
]
