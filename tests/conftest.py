"""What every test run shares: how hypothesis behaves.

Fixtures live next to the tests that use them.
"""

from __future__ import annotations

import hypothesis

# No deadline, because a shared machine is sometimes slow and no test may depend on how fast it ran. The blob printed
# with a failure repeats exactly that example on any machine (`@reproduce_failure`).
hypothesis.settings.register_profile("foliot", deadline=None, print_blob=True)
hypothesis.settings.load_profile("foliot")
