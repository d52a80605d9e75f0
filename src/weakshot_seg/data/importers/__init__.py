"""Other tools' annotations -> the folder layout of ``data=folder``.

A format is a file with ``find`` (what of it lies in a source) and ``read`` (-> ``records.Export``), and an entry of
``formats.FORMATS``. All else is the same for all: ``merge``, ``drawing``, ``write``.
"""
