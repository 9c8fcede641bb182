"""What can be wrong with a model's files."""


class ModelError(Exception):
    """A model cannot be read, built or run, said in one sentence that names the file and the remedy."""
