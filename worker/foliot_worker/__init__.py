"""The Foliot worker: runs tasks that the scheduler leases to it, and the SDK to write functions with.

Owns the worker's side of the Work stream, the executors, and what they need of the machine. It knows the contract and the
kit, and nothing of the scheduler's inside. A program that offers functions needs only the names exported here.
"""

from foliot_worker.checkpoints import CheckpointError
from foliot_worker.sdk import Context, NonRetryable, Worker

__all__ = ["CheckpointError", "Context", "NonRetryable", "Worker"]
