"""Built-in actuation plugins."""
