"""Neural networks and their layers, and embeddings of the time and the points of a flow."""

from floqzoo.networks.conditional_field import ConditionalField as ConditionalField
from floqzoo.networks.dense import Dense as Dense
from floqzoo.networks.embedding_network import EmbeddingNetwork as EmbeddingNetwork
from floqzoo.networks.ensemble import Ensemble as Ensemble, Shared as Shared
from floqzoo.networks.film import FiLM as FiLM
from floqzoo.networks.impala_encoder import (
    Convolution as Convolution,
    ImpalaEncoder as ImpalaEncoder,
    impala_small as impala_small,
)
from floqzoo.networks.layer_norm import LayerNorm as LayerNorm
from floqzoo.networks.mlp import MLP as MLP
from floqzoo.networks.normaliser import Normaliser as Normaliser
from floqzoo.networks.pixel_network import PixelNetwork as PixelNetwork
from floqzoo.networks.point_embedding import (
    HLGauss as HLGauss,
    NormalisedValue as NormalisedValue,
    RawPoint as RawPoint,
)
from floqzoo.networks.precision import with_compute_dtype as with_compute_dtype
from floqzoo.networks.residual_mlp import ResidualMLP as ResidualMLP
from floqzoo.networks.sinusoidal_time import SinusoidalTime as SinusoidalTime
from floqzoo.networks.time_embedding import CosineTime as CosineTime, FourierTime as FourierTime, RawTime as RawTime
from floqzoo.networks.unet_field import UNetField as UNetField
