"""The scheduler: one process of any number, one of which leads. See README.md beside this package for the way through it."""
