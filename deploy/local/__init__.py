"""The local stack: PostgreSQL, Redis and S3 in child processes, both services, two tenants, three samples.

`python -m deploy.local up` is what `make run` calls, and the fixture of the system tests. Everything stands on
loopback, keeps its data under one directory and leaves no process behind, however it ends.
"""
