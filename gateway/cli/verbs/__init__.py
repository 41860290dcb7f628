"""The verbs of `alga-ext`: thin, as doors are. Options in, one piece of work, its result as text or JSON."""
