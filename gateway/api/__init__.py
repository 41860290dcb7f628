"""api: thin doors. Decode, one call, encode; no SQL, no signing, no policy."""
