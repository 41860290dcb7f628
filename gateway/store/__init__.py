"""store: the only room that speaks SQL. Everything else gets frozen structs."""
