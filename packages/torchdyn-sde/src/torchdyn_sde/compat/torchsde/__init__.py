"""A drop-in for torchsde 0.2.6: `import torchdyn_sde.compat.torchsde as torchsde`.

Names, signatures and shapes are torchsde's; what computes is torchdyn. Where the two differ on purpose:

- Brownian motions are functions of a seed and an interval. `entropy=None` draws the seed from torch's generator, which
  `torch.manual_seed` sets. `pool_size`, `cache_size`, `cache_depth`, `safety` and `window_size` have no effect.
- Steps are at `t0 + i * dt`; no sliver of a step comes of rounding.
- "srk" for diagonal and scalar noise is Roessler's SRI1W1, "milstein" with `grad_free` takes differences that leave the
  drift out, and with scalar noise of several components "milstein" takes the derivative of the diffusion along itself.
- Gradients of `sdeint_adjoint` reach every parameter that the equation uses, so `adjoint_params` has no effect.
- `options={"compile": True}` makes a solve one compiled loop (`"require"` raises where that cannot be done).
"""

from __future__ import annotations

from torchdyn_sde.compat.torchsde import settings
from torchdyn_sde.compat.torchsde.adjoint import sdeint_adjoint
from torchdyn_sde.compat.torchsde.brownian import BaseBrownian, BrownianInterval
from torchdyn_sde.compat.torchsde.derived import BrownianPath, BrownianTree, ReverseBrownian, brownian_interval_like
from torchdyn_sde.compat.torchsde.sde import BaseSDE, SDEIto, SDEStratonovich
from torchdyn_sde.compat.torchsde.sdeint import sdeint

__all__ = [
    "BaseBrownian",
    "BaseSDE",
    "BrownianInterval",
    "BrownianPath",
    "BrownianTree",
    "ReverseBrownian",
    "SDEIto",
    "SDEStratonovich",
    "brownian_interval_like",
    "sdeint",
    "sdeint_adjoint",
    "settings",
]
