"""Native code: its format and signature, how a runner loads it, and the compiler role that alone makes it."""
