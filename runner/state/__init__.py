"""What a runner knows of the platform's state: the feed, polled every second."""
