"""The supervisor: binds both listeners, keeps the worker processes, remembers used tokens for all of them."""
