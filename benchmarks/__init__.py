"""Speed and memory of the ecosystem, measured beside its peers: `python -m nox -s bench`."""
