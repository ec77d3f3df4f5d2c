"""What can be asked over HTTP, and what each request means.

`routes.py` is the table of contents; a module for each noun has the handlers and their messages.
"""

from gateway.api.routes import VERSION, Api
from gateway.shell.messages import REPEATS_HEADER

__all__ = ["REPEATS_HEADER", "VERSION", "Api"]
