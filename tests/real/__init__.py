"""Real components for the tests: engines, registries, readers and a release server, each private and temporary.

Everything runs in its own temporary folder on a loopback port or a Unix socket, is started by the class of its name
used as a context manager, and is ended by its process id, also when a test fails. Nothing here touches an engine,
service or configuration that the machine already had.
"""
