"""console: pages for administrators, and the theme that they share with extensions' iframes."""
