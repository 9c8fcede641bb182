"""The host: profiles, plugin discovery, the loop, the interlock and the command line."""

__version__ = "0.1.0"
