"""The entry point: `python agent.py --profile doom.yaml`."""

from agent.cli import main

if __name__ == "__main__":
    main()
