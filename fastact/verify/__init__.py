"""The accuracy of every function, ours and its peers', measured: ``fastact verify``. Needs ``pip install 'fastact[verify]'``."""
