"""Secrets of installs: sealed until a guest asks for one by name, open for that execution only."""
