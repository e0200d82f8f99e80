"""The base of the package, which imports no other room: types, errors, files, devices and processes."""
