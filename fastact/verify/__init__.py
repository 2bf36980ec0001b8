"""Measuring the accuracy of every function, ours and its peers': the command ``fastact verify``. Needs ``pip install 'fastact[verify]'``."""
