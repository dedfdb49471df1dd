"""The parts that act: mailboxes around the pure core.

Owns who leads, what is committed when, and which worker is on which stream. Each mutable state has one owner task; everybody
else sends it messages. Must not know gRPC's servicers (api) nor decide what the core decides.
"""
