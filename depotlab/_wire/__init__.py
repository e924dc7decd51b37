"""The conversation between this program and daemons, as values, a picture and a story.

May import `_rpc`, `_graph`, `_proto`, `_values` and `errors`.
"""

from depotlab._wire.conversation import Wire, wire
from depotlab._wire.values import Exchanges, RegistryTalk, WireExchange, WireMessage

__all__ = ["Exchanges", "RegistryTalk", "Wire", "WireExchange", "WireMessage", "wire"]
