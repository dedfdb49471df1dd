"""What every Foliot process is made of and that knows nothing of tasks.

Time and randomness (`clock`), identifiers as text (`ids`), queues between owners (`mailbox`), long-lived parts and
their shutdown (`lifecycle`, `supervisor`), `backoff`, `settings`, `logs`, `telemetry` and `metrics`. The one module
that knows the contract is `errors`, which turns failures into gRPC statuses and back.
"""
