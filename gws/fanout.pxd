from .connection cimport Connection
from .prepared cimport PreparedMessage
