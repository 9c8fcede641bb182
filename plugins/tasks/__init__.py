"""Aim tasks: a rendered room of our own in which targets appear, move and are shot, scored as pointing is."""
