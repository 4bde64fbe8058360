# SPDX-License-Identifier: GPL-2.0-or-later
"""One guest serves all the tests that ask for the same one; each test gets it with no daemon running."""
import os
from pathlib import Path

import pytest

from guest import Guest


@pytest.fixture(scope="module")
def booted(request):
    """The module's GUEST = dict(kernel=…, nic=…), or the parameter of an indirect parametrization."""
    what = getattr(request, "param", None) or request.module.GUEST
    lab = Path(os.environ["SLUICE_LAB"])
    if not (lab / f"vmlinux-{what['kernel']}").exists():
        pytest.skip(f"{lab} has no kernel {what['kernel']}")
    with Guest(lab, os.environ["SLUICE_BUILD"], **what) as guest:
        yield guest


@pytest.fixture
def guest(booted):
    booted.fresh()
    yield booted
    booted.fresh()
