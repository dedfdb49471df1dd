"""The gateway: HTTP in front of the scheduler, and the command line. `app` puts it together."""
