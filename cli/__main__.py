"""`python -m cli`: the same as agent.py, for processes that Reticle starts itself."""

from cli.main import main

if __name__ == "__main__":
    main()
