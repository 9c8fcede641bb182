"""Built-in observer plugins."""
