"""What both services, the CLI and the guests agree on. Imports nothing from gateway, runner or deploy."""
