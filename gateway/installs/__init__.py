"""installs: what a tenant installed, granted and configured."""
