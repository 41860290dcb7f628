"""Sandbox processes: the engine, the value codec, the frames, the zygote, the worker inside, the pool outside."""
