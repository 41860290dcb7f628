"""events: extensions and the host application tell extensions of the same tenant that something happened."""
