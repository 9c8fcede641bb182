"""The entry point: `python agent.py --profile doom.yaml`."""

if __name__ == "__main__":
    try:
        from cli.main import entry
    except KeyboardInterrupt:  # the imports take a moment, in which Ctrl-C is no error either
        raise SystemExit(130) from None
    entry()
