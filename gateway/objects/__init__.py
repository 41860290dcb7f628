"""objects: the only room that speaks S3."""
