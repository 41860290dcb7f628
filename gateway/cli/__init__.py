"""`alga-ext`, the command line of extension authors: from sources to a signed bundle, and on to an install."""
