"""Built-in capture plugins."""
