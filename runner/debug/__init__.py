"""Debug events of executions: recorded without ever blocking a guest."""
