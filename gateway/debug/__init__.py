"""debug: the live debug stream of an extension, for those who may watch it."""
