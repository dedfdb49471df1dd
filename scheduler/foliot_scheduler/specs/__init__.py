"""Specs of the contract and plans of the core, one into the other.

Owns what a valid TaskSpec, JobSpec or update is, how defaults are filled in, what of a spec is secret, and how
stored rows become the core's objects again. Must not know how a request arrived or who leads.
"""
