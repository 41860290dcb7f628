"""streams: the one room of the gateway that speaks to Redis. What it answers is parsed elsewhere."""
