"""The gRPC services of a scheduler replica.

Owns how a request becomes a command for the leader or a read of PostgreSQL, and how rows and snapshots become
messages: each in one place. Every call passes `interceptors.py`, which knows the caller's project, forwards writes
to the replica that leads, and turns every failure into a status. Must not decide what the core decides, nor hold
scheduling state.
"""
