"""The command line, one file a command. It reaches all other rooms, and that when a command is called."""
