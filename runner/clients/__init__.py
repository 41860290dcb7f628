"""The runner's own HTTP calls: one session, one client for each service it may ask. The only room with aiohttp here."""
