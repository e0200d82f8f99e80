"""The one kind of error that the program tells in a line instead of a traceback."""


class UserError(ValueError):
    """A mistake of the user's: the message is one line that names the mistake and the mend."""
