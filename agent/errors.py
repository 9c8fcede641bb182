"""The one exception that a user is meant to see."""


class UserError(Exception):
    """Something the user can put right, said in one clear sentence.

    The command line prints the message alone, without a traceback, and exits with status 2. A message
    names the file, line or value at fault and the remedy.
    """
