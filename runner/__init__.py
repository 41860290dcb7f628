"""The runner: executes third-party components in sandbox processes and serves their UI assets."""
