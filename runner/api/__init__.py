"""The internal listener: execute, health, metrics."""
