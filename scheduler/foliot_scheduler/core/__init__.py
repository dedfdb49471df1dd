"""The pure core: decides everything, does nothing.

Owns the rules: what states there are, which moves between them are legal, which task goes to which worker, when a schedule
fires. Facts come in as commands (`commands.py`), decisions leave as effects (`effects.py`); `engine.py` is the one door.
It must not know the clock, the network, PostgreSQL, protobuf or asyncio: time, ids and randomness are handed to it, so that
the same commands always give the same effects. Only the standard library may be imported here.
"""
