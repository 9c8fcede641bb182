"""What is the desktop's: windows, X11, and the process that releases buttons when the agent is gone."""
