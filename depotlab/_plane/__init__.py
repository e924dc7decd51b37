"""Depot's control plane on this computer: its API, its machines, its registry.

May import `_local`, `_rpc`, `_docker`, `_oci`, `_proto` and `errors`; shares nothing with `_depot` but the wire.
"""
