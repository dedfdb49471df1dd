"""What goes wrong with the store: one root, and a class for each thing that callers treat differently."""

from typing import ClassVar


class StoreError(Exception):
    """PostgreSQL refused what it was asked, or answered what it must not: a bug or a broken installation."""

    reason: ClassVar[str] = "internal"
    """The ErrorReason that a caller is shown, lower case."""


class StoreUnavailable(StoreError):  # noqa: N818 - a state of the world, named as such
    """PostgreSQL does not answer, or the connection broke: what was under way may or may not have taken effect."""

    reason = "database_unavailable"


class StoreBusy(StoreUnavailable):
    """PostgreSQL has no connection left for us: it has too much to do, and nothing has taken effect."""

    reason = "overloaded"


class Fenced(StoreError):  # noqa: N818 - what has happened to the writer
    """Another replica leads: nothing of the commit was written, and the writer must step down."""

    reason = "no_leader"


class ConflictError(StoreError):
    """A row that must be the first of its key is not (a due time, an idempotency key). Nothing was written."""


class SchemaError(StoreError):
    """The database's schema and this code do not fit together; the message says what to do."""


class DatabaseUrlError(StoreError):
    """The database URL cannot work as it stands: malformed, wrong credentials, no such database. Never quotes the password."""


class EmbeddedPostgresError(StoreError):
    """The embedded PostgreSQL cannot be started, or ended by itself; the message names the directory."""
