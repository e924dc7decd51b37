"""gRPC: the outer channel and the inner server. The only room that knows the gRPC library."""
