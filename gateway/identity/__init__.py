"""identity: who is calling. A credential comes in, a `Principal` comes out, or one identical 401."""
