"""The settings of every process, and the types that lists in the environment are read as."""
