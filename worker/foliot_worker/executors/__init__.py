"""How work runs, a module for each kind. All keep to the `Executor` protocol of `foliot_worker.runner`."""
