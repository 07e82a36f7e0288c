"""Drop-ins: modules with the names and signatures of other libraries, on top of what is here."""
