"""PostgreSQL: the only truth, and everything that speaks SQL.

Owns the schema (`migrations/`), the one statement that commits what the engine decided (`commit.py`), what a new leader
loads (`recovery.py`), what the API reads (`reads.py`, `queries/`), retention (`partitions.py`) and the embedded server
(`embedded.py`). SQL lives in .sql files; Python holds typed wrappers. It knows the core's types and must not know protobuf,
gRPC or the actors; it decides nothing about jobs, runs and tasks.
"""
