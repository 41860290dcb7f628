"""storage: what extensions keep, for their guests and over REST, under the same rules."""
