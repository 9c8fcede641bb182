"""Controllers: target -> action."""
