"""OpenArena: a free 3D shooter with bots, that is seen by its window alone and scored by its own log."""
