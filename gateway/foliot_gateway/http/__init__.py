"""What the documented HTTP APIs share: listeners, mounting, strict reading of requests, error shapes, OpenAPI.

This package knows nothing of any one API: each API is an `Api` value (see `operation`) that a module of
`foliot_gateway.apis` declares, and this package serves it.
"""
