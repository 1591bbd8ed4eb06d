"""Sound itself: files, sample rates and overlapping windows."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]  # sound, or a tensor of a network
