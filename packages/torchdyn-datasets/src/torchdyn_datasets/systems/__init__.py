"""Data that are simulated: the vector fields of well-known systems, solved by `torchdyn_core.solve`."""
