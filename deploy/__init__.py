"""How the services are put together: the local stack, images, Kubernetes."""
