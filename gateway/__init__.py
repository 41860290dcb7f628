"""The gateway: knows tenants, installs and grants, and is the only door to the runner."""
