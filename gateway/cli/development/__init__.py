"""What `alga-ext dev` does: a stack, a watch on the project's files, versions made of what changes, a page that follows."""
