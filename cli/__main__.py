"""`python -m cli`: the same as agent.py, for processes that Reticle starts itself."""

from cli.main import entry

if __name__ == "__main__":
    entry()
