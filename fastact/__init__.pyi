# Written by tools/stubs.py; do not edit.
from .activation import ACTIVATIONS as ACTIVATIONS
from .activation import Activation as Activation
from .activation import RowwiseActivation as RowwiseActivation
from .activation import count_calls as count_calls
from .activation import explain as explain
from .catalogue import catalogue as catalogue
from .dispatch import backends as backends
from .dispatch import use_accuracy as use_accuracy
from .dispatch import use_backend as use_backend
from .names import get as get

__version__: str
__all__: list[str]

gelu: Activation
relu: Activation
leaky_relu: Activation
prelu: Activation
elu: Activation
softmax: RowwiseActivation
sigmoid: Activation
tanh: Activation
sigmoid_tanh: Activation
silu: Activation
softplus: Activation
mish: Activation
logistic: Activation
expit: Activation
swish: Activation
soft_relu: Activation
