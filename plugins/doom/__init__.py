"""Doom, by ViZDoom: a game that knows the truth and ships with its package."""
