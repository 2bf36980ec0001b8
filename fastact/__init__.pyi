# Written by tools/stubs.py; do not edit.
from .activation import ACTIVATIONS as ACTIVATIONS
from .activation import Activation as Activation
from .activation import count_calls as count_calls
from .activation import explain as explain
from .catalogue import catalogue as catalogue
from .dispatch import backends as backends
from .dispatch import use_accuracy as use_accuracy
from .dispatch import use_backend as use_backend
from .fused import act_dropout as act_dropout
from .fused import bias_act as bias_act
from .gated import Gated as Gated
from .gated import gated as gated
from .learnable import LearnedFunction as LearnedFunction
from .losses import LOSSES as LOSSES
from .losses import Loss as Loss
from .memory import PoolStats as PoolStats
from .memory import empty_cache as empty_cache
from .memory import pool_stats as pool_stats
from .memory import set_pool_limit as set_pool_limit
from .names import get as get
from .rowwise import RowwiseActivation as RowwiseActivation
from .threads import get_num_threads as get_num_threads
from .threads import set_num_threads as set_num_threads
from .warm import warmup as warmup

__version__: str
__all__: list[str]

softsign: Activation
squareplus: Activation
dish: Activation
isru: Activation
isrlu: Activation
bent_identity: Activation
arctan: Activation
identity: Activation
relu: Activation
relu_squared: Activation
star_relu: Activation
leaky_relu: Activation
prelu: Activation
rrelu: Activation
threshold: Activation
thresholded_relu: Activation
step: Activation
elu: Activation
selu: Activation
celu: Activation
relu6: Activation
clipped_relu: Activation
hard_tanh: Activation
clipped_linear: Activation
hard_sigmoid: Activation
hard_silu: Activation
hard_mish: Activation
sparse_sigmoid: Activation
sparse_plus: Activation
sqnl: Activation
serf: Activation
pserf: Activation
erf_act: Activation
gelu: Activation
clipped_gelu: Activation
gaussian: Activation
laplace: Activation
phish: Activation
sigmoid: Activation
tanh: Activation
sigmoid_tanh: Activation
silu: Activation
softplus: Activation
mish: Activation
gelu_tanh: Activation
quick_gelu: Activation
e_swish: Activation
swish_beta: Activation
log_sigmoid: Activation
elish: Activation
hard_elish: Activation
situ: Activation
soft_clipping: Activation
aria2: Activation
sine: Activation
cosine: Activation
sinc: Activation
snake: Activation
gcu: Activation
softcap: Activation
stanh: Activation
lisht: Activation
logcosh: Activation
penalized_tanh: Activation
tanh_shrink: Activation
tanh_exp: Activation
tanhsoft: Activation
srelu: Activation
plu: Activation
pelu: Activation
xielu: Activation
acon_c: Activation
meta_acon: Activation
snake_beta: Activation
dyt: Activation
derf: Activation
dyisru: Activation
pau_a: Activation
pau_b: Activation
pau_c: Activation
pau_nonsafe: Activation
seagull: Activation
nlrelu: Activation
soft_exponential: Activation
exponential: Activation
log1mexp: Activation
cloglog: Activation
smish: Activation
logish: Activation
eis: Activation
softmax: RowwiseActivation
log_softmax: RowwiseActivation
softmin: RowwiseActivation
logsumexp: RowwiseActivation
hardmax: RowwiseActivation
gumbel_softmax: RowwiseActivation
sparsemax: RowwiseActivation
entmax15: RowwiseActivation
entmax: RowwiseActivation
soft_shrink: Activation
hard_shrink: Activation
shrink: Activation
soft_sign: Activation
atan: Activation
linear: Activation
relu2: Activation
squared_relu: Activation
lrelu: Activation
trelu: Activation
heaviside: Activation
unit_step: Activation
binary_step: Activation
relu_k: Activation
bounded_relu: Activation
brelu: Activation
htanh: Activation
hard_swish: Activation
hard_swish_mobilenet: Activation
gelu_erf: Activation
gelu_10: Activation
logistic: Activation
expit: Activation
swish: Activation
swish1: Activation
soft_relu: Activation
gelu_approx: Activation
gelu_new: Activation
gelu_fast: Activation
gelu_pytorch_tanh: Activation
fast_gelu: Activation
gelu_quick: Activation
qgelu: Activation
gelu_sigmoid: Activation
logsigmoid: Activation
log_expit: Activation
situ_gate: Activation
growing_cosine_unit: Activation
soft_cap: Activation
tanh_softcap: Activation
log_cosh: Activation
tanhshrink: Activation
tanhexp: Activation
telu: Activation
s_shaped_relu: Activation
parametric_elu: Activation
aconc: Activation
meta_aconc: Activation
dynamic_tanh: Activation
dynamic_erf: Activation
dynamic_isru: Activation
pau: LearnedFunction
apl: LearnedFunction
maxout: LearnedFunction
glu: Gated
swiglu: Gated
mul_and_silu: Gated
geglu: Gated
geglu_tanh: Gated
quick_geglu: Gated
reglu: Gated
sreglu: Gated
bilinear: Gated
gtu: Gated
swiglu_oai: Gated
silu_and_mul: Gated
gelu_and_mul: Gated
geglu_erf: Gated
gelu_tanh_and_mul: Gated
qgeglu: Gated
geglu_quick: Gated
clamped_swiglu: Gated
softmax_cross_entropy: Loss
sigmoid_cross_entropy: Loss
hinge: Loss
squared_hinge: Loss
mse: Loss
huber: Loss
focal: Loss
multi_class_hinge: Loss
cross_entropy: Loss
multi_margin: Loss
multi_margin_loss: Loss
binary_cross_entropy_with_logits: Loss
bce_with_logits: Loss
sigmoid_binary_cross_entropy: Loss
hinge_loss: Loss
squared_hinge_loss: Loss
mse_loss: Loss
mean_squared_error: Loss
huber_loss: Loss
sigmoid_focal_loss: Loss
focal_loss: Loss
