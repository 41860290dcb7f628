"""Who may reach which endpoint of an extension, and what passes in and out. Pure decisions, no input or output."""
