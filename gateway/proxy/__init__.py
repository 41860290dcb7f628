"""The way to the runner: the signed envelope, the choice of an instance, the hop, and what comes back."""
