"""Real servers for tests, the demo and benchmarks: loopback only, free ports, data in a folder that the caller gives.

Nothing here imports pytest. A program that is not installed raises ``ProgramMissing`` with the Debian package's name.
"""
