"""The public listener: static files of installed extensions' UIs, and nothing else."""
