"""Made-up FHIR R4 data: the same seed gives the same bytes, on every machine and with every Python.

Theory of operation. A patient's whole record is a pure function of seed and index (`history.record`), so memory holds
one patient at a time, and ids can be told without making what they name. All chance comes from `rng.Dice`. Nothing
becomes an object first: resources are bytes templates with slots, and every number is an integer until it is text, so
that 1.50 keeps its nought. Nobody here reads a clock: the histories end at `days.END`.
"""
