"""middleware: what every request passes on its way to a door. Plain ASGI, none knows routing."""
