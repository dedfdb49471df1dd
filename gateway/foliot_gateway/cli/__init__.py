"""The `foliot` command: starts the components, alone or together, and runs the demonstration.

The one place that may know all components. Each command is a module with `run(settings) -> exit status`; modules are imported
when their command runs, so that `foliot --help` does not load three daemons.
"""
