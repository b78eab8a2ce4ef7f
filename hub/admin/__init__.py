"""The admin HTTP API: what operators and the command line ask of a running hub."""
