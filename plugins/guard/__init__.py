"""Built-in guard plugins."""
